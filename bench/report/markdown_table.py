"""Markdown tables that also line up as plain text."""


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table: the first column aligned to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: list[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        padded = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        return f"| {' | '.join(padded)} |"

    first, *others = ("-" * (width + 1) for width in widths)
    rule = f"|:{'|'.join([first, *(f'{dashes}:' for dashes in others)])}|"
    return "\n".join([line(head), rule, *map(line, rows)])


def number(value: float | None, digits: int = 1) -> str:
    """A cell; empty for None."""
    return "" if value is None else f"{value:.{digits}f}"
