"""The kernel modules that are on this host without livelayer, as far as they decide whether indexes are up to date.

A run in sync on a node with modules looks here: at the times of some files, and no program is started.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from reconciler.errors import ReconcilerError
from reconciler.host.base.mountnamespace import look_beneath
from reconciler.host.images.directorytree import DirectoryTree
from reconciler.host.merge.overlay import read_hierarchies
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.kernelmodules import MODULES
from reconciler.model.kind import Kind
from reconciler.model.state.observed import HostModules, OtherModules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from reconciler.model.state.observed import Unmanaged

_DEPMOD: Final = ("/usr/sbin/depmod", "/sbin/depmod", "/usr/bin/depmod")


def look(kernel: str, unmanaged: Iterable[Unmanaged]) -> HostModules:
    """What the host has below the overlay, and what of those that others placed may have modules."""
    covering = covering_overlays()
    place = f"/{MODULES}/{kernel}"
    state = look_beneath(covering, lambda: _state(place))
    system = (it for it in unmanaged if it.kind is Kind.SYSEXT)
    others = tuple(OtherModules(it.name, it.path, state) for it in system if (state := _state_of(it.path, kernel)))
    return HostModules(state, others, any(map(os.path.exists, _DEPMOD)))


def covering_overlays() -> list[str]:
    """The overlays that show kernel modules, the one mounted last first."""
    return [it for it in reversed(read_hierarchies(Kind.SYSEXT)) if f"/{MODULES}/".startswith(f"{it}/")]


def _state(directory: str) -> str:
    """What stat(2) tells of the indexes in a directory: where modules come or go, they are made anew."""
    try:
        with os.scandir(directory) as items:
            indexes = [it for it in items if it.name.startswith("modules.")]
        return json.dumps(sorted(_times(indexes)))
    except OSError:
        return ""


def _times(items: Iterable[os.DirEntry[str]]) -> Iterator[tuple[str, int, int]]:
    for item in items:
        status = item.stat(follow_symlinks=False)
        yield item.name, status.st_size, status.st_mtime_ns


def _state_of(path: Path, kernel: str) -> str | None:
    """None: no modules are in there. Nobody looks into an image file for that."""
    place = f"{MODULES}/{kernel}"
    try:
        if not path.is_dir():
            status = path.stat()
            return json.dumps([status.st_size, status.st_mtime_ns])
        found = DirectoryTree(path).node(place) is FileKind.DIRECTORY
        return json.dumps([(path / place).stat().st_mtime_ns, _state(f"{path}/{place}")]) if found else None
    except (OSError, ReconcilerError):
        return None
