"""Where paths lead in a tree that has a root of its own, like chroot(2) would have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_FOLLOWED_MAX: Final = 40  # links on one way, as for the kernel


def follow(path: str, target_of: Callable[[str], str | None]) -> str | None:
    """Where a path leads from the root, without a leading slash; None: links lead in a circle.

    `target_of` has the target of the symbolic link at such a path, and None where no link is; nothing need be there.
    """
    todo = path.split("/")[::-1]
    place: list[str] = []
    followed = 0
    while todo:
        part = todo.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            del place[-1:]
            continue
        target = target_of("/".join([*place, part]))
        if target is None:
            place.append(part)
            continue
        followed += 1
        if followed > _FOLLOWED_MAX:
            return None
        if target.startswith("/"):
            place = []
        todo += target.split("/")[::-1]
    return "/".join(place)
