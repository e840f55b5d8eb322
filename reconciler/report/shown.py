"""The last step of every line for a terminal or the journal: what others named or wrote must not control them."""

from __future__ import annotations

from reconciler.errors import printable


class Drawn(str):
    """Several lines, or lines with colours, that were drawn here of cells without control characters."""

    __slots__ = ()


def shown(line: str) -> str:
    """One line: line breaks and control characters in it are escaped, unless it was drawn here."""
    return line if isinstance(line, Drawn) else printable(line)
