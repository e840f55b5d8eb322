"""The merged overlay as the kernel shows it: no process, no trust in exit statuses.

systemd-sysext mounts an overlay with the source `sysext` on each hierarchy it merges, and writes the names of the
extensions to `.systemd-sysext/extensions` inside (src/sysext/sysext.c, since 248). So the mounts tell the
hierarchies, whatever SYSTEMD_SYSEXT_HIERARCHIES was set when somebody merged.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from reconciler.model.observed import Merged

_MOUNTS: Final = Path("/proc/self/mountinfo")
_RECORD: Final = ".systemd-sysext/extensions"
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def read_merged() -> Merged:
    """Which extensions are merged on the running system, and since when."""
    names: set[str] = set()
    times: list[int] = []
    for hierarchy in read_hierarchies():
        record = Path(hierarchy, _RECORD)
        try:
            names.update(record.read_text().split())
            times.append(record.stat().st_mtime_ns)
        except OSError:
            continue  # another overlay covers it
    return Merged(frozenset(names), min(times) if times else None)


def read_hierarchies() -> list[str]:
    """Where systemd-sysext has its overlays on the running system."""
    return merged_hierarchies(_MOUNTS.read_text(errors="surrogateescape"))


def merged_hierarchies(mountinfo: str) -> list[str]:
    """The mount points of systemd-sysext's overlays in a text of proc_pid_mountinfo(5)."""
    found = []
    for line in mountinfo.splitlines():
        fields, separator, behind = line.partition(" - ")
        if separator and behind.startswith("overlay sysext "):
            found.append(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields.split(" ")[4]))
    return found
