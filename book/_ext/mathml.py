"""Formulas as MathML, which browsers draw themselves: the site needs no network (docutils' TeX)."""

from typing import Any

from docutils.nodes import Element, SkipNode
from docutils.utils.math.latex2mathml import tex2mathml


def _inline(visitor: Any, node: Element) -> None:
    visitor.body.append(tex2mathml(node.astext()))
    raise SkipNode


def _display(visitor: Any, node: Element) -> None:
    visitor.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise SkipNode


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
