"""Mends what the theme and its extensions leave on each page, for readers without a network."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

# sphinx-thebe names a script on another host, which this book does not use: there is no kernel.
_THEBE = re.compile(
    r'<script type="text/x-thebe-config">.*?</script>\s*<script>kernelName.*?</script>', re.S
)
# docutils calls the bibliography a list, whose children are then no list items.
_LIST = '<div role="list" class="citation-list">'
# Between the texts of a cell's pictures, of which each picture is given all: see book/run_pages.py.
PARTED = " \N{SYMBOL FOR RECORD SEPARATOR} "
_ALT = re.compile(f'(?<=alt=")[^"]*{PARTED}[^"]*(?=")')

# A percent sign stays on the line of its number; code keeps its spaces.
_PERCENT = re.compile(r"<(pre|code|script)\b.*?</\1>|(?<=\d) %", re.S)


def percent_with_number(body: str) -> str:
    """Put a no-break space between a number and its percent sign, except in code."""
    return _PERCENT.sub(lambda found: found[0] if found[1] else "\N{NO-BREAK SPACE}%", body)


def own_texts(body: str) -> str:
    """Give each picture of a cell its own alternative text instead of all of them."""
    seen: Counter[str] = Counter()

    def own(found: re.Match[str]) -> str:
        texts = found[0].split(PARTED)
        seen[found[0]] += 1
        return texts[(seen[found[0]] - 1) % len(texts)]

    return _ALT.sub(own, body)


def _mend(app: Any, name: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    def of_thebe(script: Any) -> bool:
        text = f"{getattr(script, 'filename', '')} {script.attributes.get('body')}"
        return "thebe" in text.lower()

    context["script_files"] = [each for each in context["script_files"] if not of_thebe(each)]
    context["default_mode"] = "auto"  # the theme complains of an empty one
    if "body" in context:
        body = _THEBE.sub("", context["body"])
        body = percent_with_number(own_texts(body))
        context["body"] = body.replace(_LIST, '<div class="citation-list">')


# Icons come from a font that the style sheet names; their script would be most of a page's weight.
# What searches is needed on the page that searches, which the field leads to.
_ICONS = re.compile(r"<script[^>]*scripts/fontawesome\.js[^>]*></script>\s*")
_SEARCH = re.compile(
    r'<script[^>]*src="[^"]*(?:searchtools|language_data|searchindex)\.js[^>]*></script>\s*'
)


# The theme gives the arrow that unfolds a chapter no name, which readers by ear need.
_TOGGLE = '<summary><span class="toctree-toggle"'
_NAMED = '<summary aria-label="pages of this chapter"><span class="toctree-toggle"'


def _lighten(app: Any, error: Exception | None) -> None:
    for path in Path(app.outdir).rglob("*.html") if error is None else ():
        text = path.read_text(encoding="utf-8")
        light = _ICONS.sub("", text).replace(_TOGGLE, _NAMED)
        light = light if path.name == "search.html" else _SEARCH.sub("", light)
        if light != text:
            path.write_text(light, encoding="utf-8")


def setup(app: Any) -> dict[str, bool]:
    """Run after the theme and all extensions."""
    app.connect("html-page-context", _mend, priority=900)
    app.connect("build-finished", _lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
