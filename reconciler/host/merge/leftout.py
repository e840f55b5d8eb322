"""Why systemd leaves out what others placed, looked at only where something of it is not merged."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import ReconcilerError
from reconciler.host.images.inspect import inspect_image
from reconciler.host.store.entries import inspect
from reconciler.model.kind import ExtensionId
from reconciler.paths import SCRATCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.fit.contents import Contents
    from reconciler.model.fit.release import Host
    from reconciler.model.state.observed import Unmanaged

_VERSIONED_SINCE: Final = 254  # the systemd that takes NAME_VERSION for an extension of NAME


def reasons(host: Host, unmerged: Iterable[Unmanaged]) -> Mapping[Path, str]:
    """What is wrong with each, by path; nothing of what only waits for a refresh, or may not be looked into."""
    found = {item.path: _reason(item, host) for item in unmerged}
    return {path: reason for path, reason in found.items() if reason}


def _reason(item: Unmanaged, host: Host) -> str | None:
    try:
        contents = _contents(item)
    except (ReconcilerError, OSError):
        return None
    stem = item.name.partition("_")[0]
    is_versioned = host.systemd >= _VERSIONED_SINCE and stem in contents.releases
    error = contents.misfit(ExtensionId(stem if is_versioned else item.name, item.kind), host)
    return error.message if error else None


def _contents(item: Unmanaged) -> Contents:
    if item.path.is_dir():
        return inspect(item.path, item.kind)
    with tempfile.TemporaryDirectory(prefix="livelayer-", dir=SCRATCH) as scratch:
        return inspect_image(item.path, item.kind, Path(scratch))
