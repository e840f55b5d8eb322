"""Configuration extensions that lie in merged system extensions, as usr/lib/confexts/NAME."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.host.merge.hostfiles import host_has
from reconciler.host.store.entries import inspect
from reconciler.model.fit.hierarchies import default_hierarchies
from reconciler.model.fit.release import misfit
from reconciler.model.kind import Kind
from reconciler.model.state.sight import Sight

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.fit.release import Host
    from reconciler.model.kind import ExtensionId
    from reconciler.model.state.observed import Unmanaged

_USR: Final = Sight(default_hierarchies(Kind.SYSEXT))


def find_carried(found: Iterable[Unmanaged], host: Host) -> frozenset[ExtensionId]:
    """Those of what others placed that the host itself does not have and that systemd would merge."""
    return frozenset(
        it.ident for it in found if _fits(it, host) and host_has(str(it.path), Kind.SYSEXT, _USR) is False
    )


def _fits(item: Unmanaged, host: Host) -> bool:
    """Of image files it is taken for granted."""
    if not item.path.is_dir():
        return True
    release = inspect(item.path, item.kind).releases.get(item.name)
    return release is not None and misfit(release, host, item.kind) is None
