"""The merged overlays as the kernel shows them: no process, no trust in exit statuses.

systemd mounts an overlay with the source `sysext` or `confext` on each hierarchy it merges, and writes the names of
the extensions to `.systemd-sysext/extensions` or `.systemd-confext/confexts` inside (src/sysext/sysext.c, since 248
and 254). So the mounts tell the hierarchies, whatever SYSTEMD_SYSEXT_HIERARCHIES was set when somebody merged.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.model.kind import Kind
from reconciler.model.state.observed import Merged
from reconciler.model.state.sight import Hierarchy

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOUNTS: Final = Path("/proc/self/mountinfo")
_MANAGERS_MOUNTS: Final = Path("/proc/1/mountinfo")
_POINT: Final = 4  # the field with the mount point; options follow, then propagation
_RECORDS: Final = {Kind.SYSEXT: ".systemd-sysext/extensions", Kind.CONFEXT: ".systemd-confext/confexts"}
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def read_merged() -> dict[Kind, Merged]:
    """Which extensions are merged on the running system, where, and since when."""
    mounts = _MOUNTS.read_text(errors="surrogateescape")
    return {kind: _merged(kind, hierarchies(mounts, kind)) for kind in Kind}


def read_kept(place: str) -> tuple[str, ...]:
    """The mounts below a place of the running system, which systemd 257 on carries over."""
    mounts = _parsed(_MOUNTS.read_text(errors="surrogateescape"))
    return tuple(dict.fromkeys(it.point for it in mounts if it.lies_below(place)))


def read_hierarchies(kind: Kind) -> list[str]:
    """Where systemd has its overlays of a kind on the running system."""
    return merged_hierarchies(_MOUNTS.read_text(errors="surrogateescape"), kind)


def merged_hierarchies(mountinfo: str, kind: Kind) -> list[str]:
    """The mount points of the overlays of a kind in a text of proc_pid_mountinfo(5)."""
    return [it.point for it in _overlays(mountinfo, kind)]


def hierarchies(mountinfo: str, kind: Kind) -> tuple[Hierarchy, ...]:
    """The same with the mounts below each: those whose parent it is lie on top, others are hidden by it."""
    overlays = _overlays(mountinfo, kind)
    if not overlays:
        return ()
    others = [it for it in _parsed(mountinfo) if it not in overlays]
    return tuple(_hierarchy(it, others) for it in overlays)


def _hierarchy(overlay: _Mount, others: Sequence[_Mount]) -> Hierarchy:
    below = [it for it in others if it.lies_below(overlay.point)]
    visible = {overlay.ident}
    for mount in below:
        if mount.parent in visible:
            visible.add(mount.ident)
    kept = dict.fromkeys(it.point for it in below if it.parent == overlay.ident)
    covered = dict.fromkeys(it.point for it in below if it.ident not in visible)
    return Hierarchy(overlay.point, tuple(kept), tuple(covered))


class _Mount(NamedTuple):
    """A line of proc_pid_mountinfo(5)."""

    ident: str
    parent: str
    point: str

    def lies_below(self, place: str) -> bool:
        return self.point.startswith(f"{place}/")


def _overlays(mountinfo: str, kind: Kind) -> list[_Mount]:
    return _parsed("\n".join(line for line in mountinfo.splitlines() if f" - overlay {kind} " in line))


def _parsed(mountinfo: str) -> list[_Mount]:
    lines = (line.split(" ", 5) for line in mountinfo.splitlines())
    return [_Mount(it[0], it[1], _unescaped(it[_POINT])) for it in lines if len(it) > _POINT]


def _unescaped(path: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), path) if "\\" in path else path


def read_private_mount(kind: Kind, *, of_manager: bool) -> str | None:
    """The mount that would keep a merge of a kind to the namespace of systemd-sysext's own worker; None: none does.

    With `of_manager` it is looked for where PID 1 sees it, whose units merge, rather than this process.
    """
    mounts = _MANAGERS_MOUNTS if of_manager else _MOUNTS
    return private_mount(mounts.read_text(errors="surrogateescape"), kind)


def private_mount(mountinfo: str, kind: Kind) -> str | None:
    """The same in a text of proc_pid_mountinfo(5): the mount below systemd's overlay, if it is not shared."""
    hierarchy = "/etc" if kind is Kind.CONFEXT else "/usr"
    point, fields = "", list[str]()
    for line in mountinfo.splitlines():
        before, _, behind = line.partition(" - ")
        found = before.split(" ")
        at = _unescaped(found[_POINT]) if len(found) > _POINT else ""
        covers = at in {"/", hierarchy} and not behind.startswith(f"overlay {kind} ")
        if covers and len(at) >= len(point):
            point, fields = at, found[_POINT + 2 :]
    return point if point and not any(it.startswith("shared:") for it in fields) else None


def _merged(kind: Kind, found: tuple[Hierarchy, ...]) -> Merged:
    names: set[str] = set()
    times: list[int] = []
    for hierarchy in found:
        record = Path(hierarchy.place, _RECORDS[kind])
        try:
            names.update(record.read_text().split())
            times.append(record.stat().st_mtime_ns)
        except OSError:
            continue  # another overlay covers it
    return Merged(frozenset(names), min(times) if times else None, found)
