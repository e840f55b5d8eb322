"""What a merge would do to what is mounted below a hierarchy, known before it is done."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import reconciler
from reconciler.errors import Failed
from reconciler.host.base.mounts import hierarchies, hosts_mounts, nested, read_mounts
from reconciler.host.merge import trial
from reconciler.host.merge.visibility import CARRIES_OVER, places_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.host.base.mounts import Mount
    from reconciler.model.fit.release import Host
    from reconciler.model.kind import Kind
    from reconciler.paths import Paths


def harm_to_mounts(paths: Paths, host: Host, kind: Kind) -> Failed | None:
    """Why nothing must be merged: livelayer itself would be hidden, or mounts would be lost."""
    places = tuple(dict.fromkeys(places_of(paths, host, kind).values()))
    mounts = read_mounts()
    if host.systemd < CARRIES_OVER:
        return _hides_livelayer(_to_be_hidden(mounts, kind, places), host)
    for place in places:
        points = hosts_mounts(mounts, place)
        if (pair := nested(points)) and trial.keeps_mounts(kind, host.hierarchies_of(kind), points) is False:
            return Failed(
                f"the mount {pair[0]} lies in the mount {pair[1]}, and this systemd, {host.systemd}, loses both",
                f"unmount {pair[0]} while extensions are merged anew, or update systemd to 261",
                code="overlay.loses-mounts",
            )
    return None


def to_be_hidden(paths: Paths, host: Host, kind: Kind) -> dict[str, tuple[str, ...]]:
    """The mounts that are to be seen yet, and would not be once something is merged around them, by hierarchy."""
    if host.systemd >= CARRIES_OVER or not paths.is_running_system:
        return {}
    mounts = read_mounts()
    found = {name: _to_be_hidden(mounts, kind, [place]) for name, place in places_of(paths, host, kind).items()}
    return {name: points for name, points in found.items() if points}


def _to_be_hidden(mounts: Sequence[Mount], kind: Kind, places: Sequence[str]) -> tuple[str, ...]:
    hidden = {point for it in hierarchies(mounts, kind) for point in it.covered}
    return tuple(point for place in places for point in hosts_mounts(mounts, place) if point not in hidden)


def _hides_livelayer(points: Sequence[str], host: Host) -> Failed | None:
    program = {os.path.realpath(reconciler.__file__), os.path.realpath(sys.executable)}
    found = (point for point in points if any(path.startswith(f"{point}/") for path in program))
    if (point := next(found, None)) is None:
        return None
    return Failed(
        f"livelayer itself lies on the mount {point}, which systemd {host.systemd} hides while extensions are merged",
        "let the unit merge directories beside it, such as SYSTEMD_SYSEXT_HIERARCHIES=/usr/bin:/usr/lib:/usr/share "
        "(systemctl edit systemd-sysext.service), or install livelayer elsewhere",
        code="overlay.hides-livelayer",
    )
