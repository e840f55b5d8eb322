"""The last step of every line for a terminal or the journal: no name controls them, no secret is in them.

Both is seen to where things are named, too, since JSON and records do not come by here.
"""

from __future__ import annotations

from reconciler.errors import printable


class Drawn(str):
    """Several lines, or lines with colours, that were drawn here of cells without control characters."""

    __slots__ = ()


def shown(line: str) -> str:
    """One line: line breaks and control characters in it are escaped, unless it was drawn here."""
    return line if isinstance(line, Drawn) else printable(line)
