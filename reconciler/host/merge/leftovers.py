"""Take off the empty directories that systemd leaves over a hierarchy, and keep what is mounted on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.host.base.command import check, run, script
from reconciler.host.base.mounts import leftovers, read_mounts

if TYPE_CHECKING:
    from reconciler.model.kind import Kind
    from reconciler.paths import Paths

_MOST: Final = 20  # one on top of the other
_TIMEOUT: Final = 60.0  # seconds
_PROGRAMS: Final = ("mount", "umount", "mkdir", "rm")
# Copies are made private before the originals go: an unmount in one of them would go through to its peers.
_TAKE_OFF: Final = """
set -e
place=$1 keep=$2; shift 2
number=0
for mount; do
    number=$((number + 1))
    if [ -d "$mount" ]; then mkdir -p "$keep/$number"; else mkdir -p "$keep"; : > "$keep/$number"; fi
    mount --rbind "$mount" "$keep/$number"
    mount --make-rprivate "$keep/$number"
done
umount --lazy "$place"
number=0
for mount; do
    number=$((number + 1))
    mount --rbind "$keep/$number" "$mount"
    umount --lazy "$keep/$number"
    rm --dir "$keep/$number"
done
"""


def take_off(paths: Paths, kind: Kind) -> tuple[str, ...]:
    """Show again what the host has below them; returns where that was."""
    places: list[str] = []
    for _ in range(_MOST):
        mounts = read_mounts()
        left = leftovers(mounts, kind)
        if not left:
            break
        top = left[-1]
        kept = [it.point for it in mounts if it.parent == top.ident and it.lies_below(top.point)]
        command = (*script(_TAKE_OFF, *_PROGRAMS), "take-off", top.point, str(paths.runtime / "mounts"), *kept)
        check(run(*command, timeout=_TIMEOUT), f"taking off what systemd-{kind} left over {top.point}")
        places.append(top.point)
    return tuple(dict.fromkeys(places))
