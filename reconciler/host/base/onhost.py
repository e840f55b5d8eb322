"""What this host itself has where extensions are merged onto it.

No file that comes with an extension configures livelayer or is run by it: what does is looked for below the overlays.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Never, TypeVar

from reconciler.errors import Failed
from reconciler.host.base.mounts import hierarchies, read_mounts
from reconciler.host.base.way import way
from reconciler.model.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.model.state.sight import Hierarchy

T = TypeVar("T")
_found: Final = set[tuple[str, tuple[int, ...] | None]]()  # files that are the host's, as they were then


def on_host(look: Callable[[], T], places: Iterable[str | os.PathLike[str]]) -> T:
    """What `look` finds, or raises, at these places where extensions cover one of them, without those extensions.

    It must import nothing. Who is not root and may not look below an overlay sees what all see, and decides nothing.
    """
    there = [spot for it in places if os.path.lexists(it) for spot in _spots(it)]
    merged = _overlays() if there else []
    if not any(_covers(merged, path) for path in there):
        return look()
    from reconciler.host.base.mountnamespace import look_beneath

    def attempt() -> Callable[[], T]:
        try:
            found = look()
        except BaseException as error:  # noqa: BLE001 - raised in the thread that asked
            return _raising(error)
        return lambda: found

    answer = look_beneath([it.place for it in merged], attempt)
    if answer is None and os.geteuid() == 0:
        what = "what this host itself has below the extensions that are merged cannot be looked at"
        raise Failed(what, "let it make a mount namespace: unshare(2) and umount(2)", code="host.covered")
    return answer() if answer else look()


def _spots(place: str | os.PathLike[str]) -> list[str]:
    """What decides where a path leads: the links on the way, and its end. An extension's link may lead out of it."""
    path = os.path.abspath(place)  # noqa: PTH100 - it follows no links
    return [path, *(os.fspath(it.place) for it in way(Path(path)) if it.is_link or it.is_end)]


def is_hosts(path: str) -> bool:
    """Whether the file that a path leads to is the host's own, and comes with no merged extension."""
    here = _identity(path)
    if (path, here) not in _found:
        if on_host(lambda: _identity(path), [path]) != here:
            return False
        _found.add((path, here))
    return True


def _raising(error: BaseException) -> Callable[[], Never]:
    def fail() -> Never:
        raise error

    return fail


def _identity(path: str) -> tuple[int, ...] | None:
    """What an overlay passes on of a file of one of its layers, and nobody can set: the time of its last change."""
    try:
        found = os.stat(path)  # noqa: PTH116 - before each program, without an object
    except OSError:
        return None
    return found.st_mode, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _overlays() -> list[Hierarchy]:
    mounts = read_mounts()
    return [it for kind in Kind for it in hierarchies(mounts, kind)]


def _covers(merged: Iterable[Hierarchy], path: str) -> bool:
    """Whether what is there is shown by an overlay, and by no mount on top of it."""
    return any(_is_within(path, it.place) and not any(_is_within(path, mount) for mount in it.kept) for it in merged)


def _is_within(path: str, place: str) -> bool:
    return f"{path}/".startswith(f"{place}/")
