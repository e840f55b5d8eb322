"""The merged overlays as the kernel shows them: no process, no trust in exit statuses.

systemd mounts an overlay with the source `sysext` or `confext` on each hierarchy it merges, and writes the names of
the extensions to `.systemd-sysext/extensions` or `.systemd-confext/confexts` inside (src/sysext/sysext.c, since 248
and 254). So the mounts tell the hierarchies, whatever SYSTEMD_SYSEXT_HIERARCHIES was set when somebody merged.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.host.base.mounts import (
    MOUNTS,
    hierarchies,
    leftovers,
    overlays,
    parse_mounts,
    read_mounts,
    unescaped,
)
from reconciler.model.kind import Kind
from reconciler.model.state.observed import Merged

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.host.base.mounts import Mount

_MANAGERS_MOUNTS: Final = Path("/proc/1/mountinfo")
_POINT: Final = 4  # the field with the mount point; options follow, then propagation
_RECORDS: Final = {Kind.SYSEXT: ".systemd-sysext/extensions", Kind.CONFEXT: ".systemd-confext/confexts"}


def read_merged() -> dict[Kind, Merged]:
    """Which extensions are merged on the running system, where, and since when."""
    found = read_mounts()
    return {kind: _merged(kind, found) for kind in Kind}


def read_hierarchies(kind: Kind) -> list[str]:
    """Where systemd has its overlays of a kind on the running system."""
    return [it.point for it in overlays(read_mounts(), kind)]


def merged_hierarchies(mountinfo: str, kind: Kind) -> list[str]:
    """The mount points of the overlays of a kind in a text of proc_pid_mountinfo(5)."""
    return [it.point for it in overlays(parse_mounts(mountinfo), kind)]


def read_private_mount(kind: Kind, *, of_manager: bool) -> str | None:
    """The mount that would keep a merge of a kind to the namespace of systemd-sysext's own worker; None: none does.

    With `of_manager` it is looked for where PID 1 sees it, whose units merge, rather than this process.
    """
    mounts = _MANAGERS_MOUNTS if of_manager else MOUNTS
    return private_mount(mounts.read_text(errors="surrogateescape"), kind)


def private_mount(mountinfo: str, kind: Kind) -> str | None:
    """The same in a text of proc_pid_mountinfo(5): the mount below systemd's overlay, if it is not shared."""
    hierarchy = "/etc" if kind is Kind.CONFEXT else "/usr"
    point, fields = "", list[str]()
    for line in mountinfo.splitlines():
        before, _, behind = line.partition(" - ")
        found = before.split(" ")
        at = unescaped(found[_POINT]) if len(found) > _POINT else ""
        covers = at in {"/", hierarchy} and not behind.startswith(f"overlay {kind} ")
        if covers and len(at) >= len(point):
            point, fields = at, found[_POINT + 2 :]
    return point if point and not any(it.startswith("shared:") for it in fields) else None


def _merged(kind: Kind, mounts: Sequence[Mount]) -> Merged:
    names: set[str] = set()
    times: list[int] = []
    found = hierarchies(mounts, kind)
    for hierarchy in found:
        record = Path(hierarchy.place, _RECORDS[kind])
        try:
            names.update(record.read_text().split())
            times.append(record.stat().st_mtime_ns)
        except OSError:
            continue  # another overlay covers it
    left = tuple(it.point for it in leftovers(mounts, kind))
    return Merged(frozenset(names), min(times) if times else None, found, left)
