"""Brings content into the store: a source is opened, an entry made of what it holds, and committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.fetch.make import Maker
from reconciler.fetch.transport import Opening
from reconciler.fetch.transports.several import open_parts
from reconciler.host.base.durable import write_atomically, written_out_early
from reconciler.host.store import entries as store
from reconciler.host.store import seals

if TYPE_CHECKING:
    from reconciler.fetch.make import Made
    from reconciler.fetch.transport import Access
    from reconciler.host.registry.transfer import Meter
    from reconciler.model.plan.action import Fetch
    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths


def fetch(action: Fetch, access: Access, meter: Meter) -> None:
    """Bring content into the store. Afterwards it is there, complete, or nothing has changed.

    What the store has already is made anew. Several threads may do this at once.
    """
    paths, parts, again = access.paths, action.wanted.parts, store.has(access.paths, action.entry)
    with store.stage(paths) as stage:
        maker = Maker(paths, access.limits, action.entry, stage, action.wanted.text)
        opening = Opening(parts[0], action.resolution, stage, meter, again)
        with written_out_early(stage):
            made = open_parts(parts, opening, access, maker.make)
        if again:
            _replace(paths, made, action.entry)
        else:
            store.commit(paths, made.path, action.entry, made.contents)


def _replace(paths: Paths, made: Made, entry: Entry) -> None:
    """Put changed content right. The overlay shows the old tree until it is refreshed, whatever comes between."""
    if paths.is_running_system:
        write_atomically(paths.refresh_owed(entry.kind), b"", durable=False)
    store.commit(paths, made.path, entry, made.contents, replace=True)
    seals.forget(paths, entry)
