"""What this host itself has where extensions are merged onto it.

No file that comes with an extension configures livelayer or is run by it: what does is looked for below the overlays.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from reconciler.errors import Failed
from reconciler.host.base.mounts import hierarchies, read_mounts
from reconciler.host.base.way import way
from reconciler.model.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.model.state.sight import Hierarchy

T = TypeVar("T")
_PIECE: Final = 1 << 20  # bytes
_found: Final = set[tuple[str, tuple[int, ...] | None]]()  # files that are the host's, as they were then


def on_host(look: Callable[[], T], places: Iterable[str | os.PathLike[str]]) -> T:
    """What `look` finds, or raises, at these places where extensions cover one of them, without those extensions.

    It must import nothing. Who is not root and may not look below an overlay sees what all see, and decides nothing.
    """
    there = [spot for it in places for spot in _spots(it)]
    merged = _overlays() if there else []
    if not any(_covers(merged, path) for path in there):
        return look()
    from reconciler.host.base.mountnamespace import look_beneath

    kept = [mount for it in merged for mount in it.kept]
    answer = look_beneath([it.place for it in merged], lambda: (look(),), kept)
    if answer is None and os.geteuid() == 0:
        what = "what this host itself has below the extensions that are merged cannot be looked at"
        raise Failed(what, "let it make a mount namespace: unshare(2) and umount(2)", code="host.covered")
    return answer[0] if answer else look()


def _spots(place: str | os.PathLike[str]) -> list[str]:
    """What decides where a path leads: what is no directory on the way, and its end. Links may lead out of overlays.

    Where there are only directories up to what is not there, no extension hides anything, since they are merged.
    """
    path = os.path.abspath(place)  # noqa: PTH100 - it follows no links
    steps = list(way(Path(path)))
    passed = [it for it in steps if it.status and not stat.S_ISDIR(it.status.st_mode)]
    if not passed and steps and steps[-1].status is None:
        return []
    return [path, *(os.fspath(it.place) for it in (*passed, *steps[-1:]))]


def is_hosts(path: str) -> bool:
    """Whether the file that a path leads to is the host's own, and comes with no merged extension."""
    here = _identity(path)
    if (path, here) not in _found:
        if not _is_same(path):
            return False
        _found.add((path, here))
    return True


def _is_same(path: str) -> bool:
    """By content, since who makes an image sets all times in it."""
    with suppress(OSError), open(path, "rb") as shown, on_host(lambda: open(path, "rb"), [path]) as own:  # noqa: PTH123 - closed here
        here, there = os.fstat(shown.fileno()), os.fstat(own.fileno())
        if os.path.samestat(here, there):  # no overlay shows it
            return True
        if (here.st_mode, here.st_size) != (there.st_mode, there.st_size):
            return False
        pairs = zip(iter(partial(shown.read, _PIECE), b""), iter(partial(own.read, _PIECE), b""), strict=True)
        return all(piece == other for piece, other in pairs)
    return False


def _identity(path: str) -> tuple[int, ...] | None:
    """What changes with a file, as long as nothing else is merged."""
    try:
        found = os.stat(path)  # noqa: PTH116 - before each program, without an object
    except OSError:
        return None
    return found.st_mode, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _overlays() -> list[Hierarchy]:
    mounts = read_mounts()
    return [it for kind in Kind for it in hierarchies(mounts, kind)]


def _covers(merged: Iterable[Hierarchy], path: str) -> bool:
    """Whether what is there is shown by an overlay, and by no mount on top of it."""
    return any(_is_within(path, it.place) and not any(_is_within(path, mount) for mount in it.kept) for it in merged)


def _is_within(path: str, place: str) -> bool:
    return f"{path}/".startswith(f"{place}/")
