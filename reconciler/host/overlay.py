"""The merged overlays as the kernel shows them: no process, no trust in exit statuses.

systemd mounts an overlay with the source `sysext` or `confext` on each hierarchy it merges, and writes the names of
the extensions to `.systemd-sysext/extensions` or `.systemd-confext/confexts` inside (src/sysext/sysext.c, since 248
and 254). So the mounts tell the hierarchies, whatever SYSTEMD_SYSEXT_HIERARCHIES was set when somebody merged.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from reconciler.model.kind import Kind
from reconciler.model.observed import Merged

_MOUNTS: Final = Path("/proc/self/mountinfo")
_RECORDS: Final = {Kind.SYSEXT: ".systemd-sysext/extensions", Kind.CONFEXT: ".systemd-confext/confexts"}
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def read_merged() -> dict[Kind, Merged]:
    """Which extensions are merged on the running system, and since when."""
    mounts = _MOUNTS.read_text(errors="surrogateescape")
    return {kind: _merged(kind, merged_hierarchies(mounts, kind)) for kind in Kind}


def read_hierarchies(kind: Kind) -> list[str]:
    """Where systemd has its overlays of a kind on the running system."""
    return merged_hierarchies(_MOUNTS.read_text(errors="surrogateescape"), kind)


def merged_hierarchies(mountinfo: str, kind: Kind) -> list[str]:
    """The mount points of the overlays of a kind in a text of proc_pid_mountinfo(5)."""
    found = []
    for line in mountinfo.splitlines():
        fields, separator, behind = line.partition(" - ")
        if separator and behind.startswith(f"overlay {kind} "):
            found.append(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields.split(" ")[4]))
    return found


def _merged(kind: Kind, hierarchies: list[str]) -> Merged:
    names: set[str] = set()
    times: list[int] = []
    for hierarchy in hierarchies:
        record = Path(hierarchy, _RECORDS[kind])
        try:
            names.update(record.read_text().split())
            times.append(record.stat().st_mtime_ns)
        except OSError:
            continue  # another overlay covers it
    return Merged(frozenset(names), min(times) if times else None)
