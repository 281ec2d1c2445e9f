"""Tables in Markdown."""

from collections.abc import Iterable


def table(header: list[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    cells = ([str(cell).replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def listing(header: list[str], rows: Iterable[Iterable[object]], look: str = "listing") -> str:
    """A table that shows its first rows and has a filter."""
    return f":::{{div}} {look}\n{table(header, rows)}\n:::"
