"""Which extension lies above which: systemd compares their names as versions, and the last one is the top layer.

The rules are those of the UAPI group's version format, which `strverscmp_improved()` of systemd follows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_PART: Final = re.compile(r"(?P<separator>[~^.-])|(?P<letters>[A-Za-z]+)|(?P<digits>[0-9]+)")  # the rest is ignored
_RANKS: Final = {"~": 0, "-": 2, "^": 3, ".": 4}
_END: Final = (1, 0, "")
_LETTERS, _DIGITS = 5, 6

_Part = tuple[int, int, str]


def bottom_up(names: Iterable[str]) -> list[str]:
    """Names in the order of their layers: of a file that several have, the last one's is seen."""
    return sorted(names, key=lambda name: (version_key(name), name))


def version_key(name: str) -> list[_Part]:
    """What names and versions are compared by."""
    return [*map(_part, _PART.finditer(name)), _END]


def _part(found: re.Match[str]) -> _Part:
    if found["separator"]:
        return _RANKS[found["separator"]], 0, ""
    if found["letters"]:
        return _LETTERS, 0, found["letters"]
    number = found["digits"].lstrip("0")
    return _DIGITS, len(number), number
