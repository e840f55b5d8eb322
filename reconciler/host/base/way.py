"""What the kernel passes on the way to a file: directories, and links with what they lead to."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

MACHINE: Final = Path("/")
_LINKS_MAX: Final = 40  # as the kernel has it


class Step(NamedTuple):
    """Something on the way, by a path without links in its directories."""

    place: Path
    status: os.stat_result | None  # None: it is not there, or not for this process to see
    is_end: bool  # whether the way ends there

    @property
    def is_link(self) -> bool:
        return self.status is not None and stat.S_ISLNK(self.status.st_mode)


def way(path: Path, root: Path = MACHINE) -> Iterator[Step]:
    """All that is passed below a root, up to what is not there."""
    at, left, links = root, list(reversed(path.relative_to(root).parts)), 0
    while left and links <= _LINKS_MAX:
        if (part := left.pop()) == "..":
            at = at if at == root else at.parent
            continue
        place = at / part
        try:
            status = place.lstat()
            target = place.readlink() if stat.S_ISLNK(status.st_mode) else None
        except OSError:
            yield Step(place, None, is_end=True)
            return
        yield Step(place, status, is_end=not left and target is None)
        if target is None:
            at = place
            continue
        links += 1
        left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
        at = root if target.is_absolute() else at


def turns(path: Path, root: Path = MACHINE) -> Iterator[Path]:
    """The links on the way to a path, and what they come to: where it changes although nothing beside it does."""
    has_turned = False
    for step in way(path, root):
        has_turned = has_turned or step.is_link
        if step.is_link or (step.is_end and has_turned):
            yield step.place
