"""The mounts of the running system, as the kernel lists them (proc_pid_mountinfo(5))."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.model.kind import Kind
from reconciler.model.state.sight import Hierarchy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOUNTS: Final = Path("/proc/self/mountinfo")
_BEFORE: Final = 6  # fields before the optional ones
_OURS: Final = frozenset(f"{fs_type} {kind}" for fs_type in ("overlay", "tmpfs") for kind in Kind)  # systemd's own
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


class FileSystem(NamedTuple):
    """A file system, whatever its mounts allow."""

    kind: str
    is_read_only: bool  # nobody can write to it, by whatever mount


class Mount(NamedTuple):
    """A mount, in the order in which they were made."""

    ident: str
    parent: str
    root: str  # what of its file system is mounted
    point: str
    what: str  # the type of the file system and its source: of systemd's own the kind of extensions

    def lies_below(self, place: str) -> bool:
        return self.point.startswith(f"{place}/")


def read_mounts() -> list[Mount]:
    return parse_mounts(MOUNTS.read_text(errors="surrogateescape"))


def parse_mounts(mountinfo: str) -> list[Mount]:
    found = []
    for line in mountinfo.splitlines():
        before, _, behind = line.partition(" - ")
        fields = before.split(" ", _BEFORE)
        if len(fields) >= _BEFORE:
            what = " ".join(behind.split(" ", 2)[:2])
            found.append(Mount(fields[0], fields[1], fields[3], unescaped(fields[4]), what))
    return found


def file_system(device: int) -> FileSystem | None:
    """The file system that a file lies on, by its st_dev; None: it is not known, as on most of btrfs."""
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in MOUNTS.read_text(errors="surrogateescape").splitlines():
        before, _, behind = line.partition(" - ")
        if before.split(" ", 3)[2:3] == [number]:
            kind, *_, options = behind.split(" ")
            return FileSystem(kind, options.split(",")[0] == "ro")
    return None


def unescaped(path: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), path) if "\\" in path else path


def overlays(mounts: Iterable[Mount], kind: Kind) -> list[Mount]:
    """Those on hierarchies; a mutable one has a further one, which keeps its own record from being written."""
    return [it for it in mounts if it.what == f"overlay {kind}" and it.root == "/"]


def leftovers(mounts: Iterable[Mount], kind: Kind) -> list[Mount]:
    """Empty directories of its workplace that systemd mounted in place of an overlay.

    Since 257 it carries over what is mounted below a hierarchy, also below one of which no extension has anything:
    then only that is seen there, and nothing of the host (measured on 257 and 262).
    """
    return [it for it in mounts if it.what == f"tmpfs {kind}" and it.root.startswith("/overlay/")]


def hierarchies(mounts: Sequence[Mount], kind: Kind) -> tuple[Hierarchy, ...]:
    """The overlays of a kind, with the mounts that lie on each, as their parents tell, and those that it hides."""
    found = overlays(mounts, kind)
    others = [it for it in mounts if it.what not in _OURS] if found else []
    return tuple(_hierarchy(it, others) for it in found)


def _hierarchy(overlay: Mount, others: Sequence[Mount]) -> Hierarchy:
    below = [it for it in others if it.lies_below(overlay.point)]
    visible = {overlay.ident}
    for mount in below:
        if mount.parent in visible:
            visible.add(mount.ident)
    kept = dict.fromkeys(it.point for it in below if it.parent == overlay.ident)
    covered = dict.fromkeys(it.point for it in below if it.ident not in visible)
    return Hierarchy(overlay.point, tuple(kept), tuple(covered))


def hosts_mounts(mounts: Sequence[Mount], place: str) -> tuple[str, ...]:
    """The mount points below a place that are not systemd's."""
    return tuple(dict.fromkeys(it.point for it in mounts if it.lies_below(place) and it.what not in _OURS))


def nested(points: Sequence[str]) -> tuple[str, str] | None:
    """A mount point and another one that it lies in; None: none does."""
    pairs = ((inner, outer) for inner in points for outer in points if inner.startswith(f"{outer}/"))
    return next(pairs, None)
