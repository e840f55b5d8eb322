"""Brings content into the store: a source is opened, an entry made of what it holds, and committed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.fetch.make import Maker
from reconciler.fetch.transport import Opening
from reconciler.fetch.transports.several import open_parts
from reconciler.host.base.durable import write_atomically, written_out_early
from reconciler.host.store import entries as store
from reconciler.host.store import seals
from reconciler.model.content.format import Format, Payload

if TYPE_CHECKING:
    from reconciler.fetch.make import Made
    from reconciler.fetch.transport import Access
    from reconciler.host.registry.transfer import Meter
    from reconciler.model.plan.action import Fetch
    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths


def fetch(action: Fetch, access: Access, meter: Meter) -> Fetch:
    """Bring content into the store. Afterwards it is there, complete, or nothing has changed.

    What the store has already is made anew. Several threads may do this at once. Where the format was left open, the
    content may turn out to be another entry than the one that was asked for.
    """
    paths, parts, again = access.paths, action.wanted.parts, store.has(access.paths, action.entry)
    with store.stage(paths) as stage:
        is_open = action.wanted.format is None and not again
        maker = Maker(paths, access.limits, action.entry, stage, action.wanted.text, is_open)
        opening = Opening(parts[0], action.resolution, stage, meter, again)
        with written_out_early(stage):
            made = open_parts(parts, opening, access, maker.make)
        if again:
            _replace(paths, made, action.entry)
        else:
            store.commit(paths, made.path, made.entry, made.contents)
    if made.entry == action.entry:
        return action
    payload = Payload.IMAGE if made.entry.format is Format.RAW else Payload.LAYERS
    return replace(action, entry=made.entry, resolution=replace(action.resolution, payload=payload))


def _replace(paths: Paths, made: Made, entry: Entry) -> None:
    """Put changed content right. The overlay shows the old tree until it is refreshed, whatever comes between."""
    if paths.is_running_system:
        write_atomically(paths.refresh_owed(entry.kind), b"", durable=False)
    store.commit(paths, made.path, entry, made.contents, replace=True)
    seals.forget(paths, entry)
