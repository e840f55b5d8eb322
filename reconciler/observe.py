"""One look at the node: store, search directories, merged overlay. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler import drift
from reconciler.host.links import read_links
from reconciler.host.overlay import read_merged
from reconciler.host.store import read_contents
from reconciler.model.kind import Kind
from reconciler.model.observed import ObservedState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.observed import Entry
    from reconciler.model.release import Host
    from reconciler.paths import Paths


def observe(paths: Paths, host: Host, entries: Iterable[Entry]) -> ObservedState:
    """Look at the node; of the store, at the linked entries and at `entries`."""
    found = read_links(paths, host.systemd)
    linked = [link.entry for link in found.links.values()]
    changed, intact = drift.look(paths, {link.entry for link in found.links.values() if not link.dangling})
    return ObservedState(
        host=host,
        links=found.links,
        unmanaged=found.unmanaged,
        store=read_contents(paths, [*linked, *entries]),
        merged=read_merged() if paths.is_running_system else None,
        refresh_owed=frozenset(kind for kind in Kind if paths.refresh_owed(kind).exists()),
        changed=changed,
        intact=intact,
    )
