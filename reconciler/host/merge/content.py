"""Whether the overlay shows what a link leads to, or something else under its name.

systemd's record has names only: what lay in the way when it merged, and is gone since, is still seen. From 260 on it
also says from where each came. Otherwise the release file tells: an overlay passes on the time of an inode's last
change, which no two have in common and nobody can set. Of image files, older versions tell nothing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.model.kind import RELEASE_PREFIX, ExtensionId, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.state.observed import Link, Merged
    from reconciler.paths import Paths

_ORIGINS: Final = {Kind.SYSEXT: "/usr/.systemd-sysext/origin", Kind.CONFEXT: "/etc/.systemd-confext/origin"}


def covered(paths: Paths, links: Iterable[Link], merged: Mapping[Kind, Merged]) -> frozenset[ExtensionId]:
    """The extensions whose names are merged with content that is not what their links lead to."""
    seen = [it for it in links if it.name in merged[it.entry.kind].names and not it.dangling]
    origins = {kind: _origins(kind) for kind in {it.entry.kind for it in seen}}
    return frozenset(it.ident for it in seen if _is_other(paths, it, origins[it.entry.kind], seen))


def _is_other(paths: Paths, link: Link, origins: Mapping[str, str], links: Iterable[Link]) -> bool:
    if origin := origins.get(link.name):
        return origin != os.path.realpath(paths.store / link.entry.file_name)
    if link.entry.format.is_file:
        return False
    release = f"{link.entry.kind.traits.releases}/{RELEASE_PREFIX}{link.name}"
    shown, own = _mark(Path("/", release)), _mark(paths.store / link.entry.file_name / release)
    if shown is None or own is None or shown == own:
        return False
    return shown not in {_mark(paths.store / it.entry.file_name / release) for it in links}  # an upper layer has it


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ctime_ns, status.st_size


def _origins(kind: Kind) -> Mapping[str, str]:
    """Where each merged extension lay, without symbolic links; nothing where systemd does not say."""
    try:
        document = json.loads(Path(_ORIGINS[kind]).read_bytes())
        return {name: item["path"] for name, item in document["extensions"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
