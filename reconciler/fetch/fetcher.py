"""Brings content into the store: a source is opened, an entry made of what it holds, and committed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.fetch.make import Maker
from reconciler.fetch.transport import Opening
from reconciler.fetch.transports.several import open_parts
from reconciler.host.base import writeout
from reconciler.host.base.durable import write_atomically
from reconciler.host.store import entries as store
from reconciler.host.store import seals
from reconciler.model.plan.space import no_room

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.fetch.make import Made
    from reconciler.fetch.transport import Access
    from reconciler.host.registry.transfer import Meter
    from reconciler.model.plan.action import Fetch
    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths


@dataclass(frozen=True, slots=True)
class Fetcher:
    """The means to bring content into one node's store. Safe to be used by several threads at once."""

    access: Access
    require_space: bool = True  # False: try, even if the disk cannot have room for it

    def fetch(self, action: Fetch, meter: Meter) -> None:
        """Bring content into the store. Afterwards it is there, complete, or nothing has changed.

        What the store has already is made anew.
        """
        paths, parts, again = self.access.paths, action.wanted.parts, store.has(self.access.paths, action.entry)
        with store.stage(paths) as stage:
            if self.require_space:
                _require_space(paths.staging, action)
            maker = Maker(paths, self.access.limits, action.entry, stage, action.wanted.text)
            opening = Opening(parts[0], action.resolution, stage, meter, again)
            with writeout.early(stage):
                made = open_parts(parts, opening, self.access, maker.make)
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


def _require_space(directory: Path, action: Fetch) -> None:
    """Refuse what cannot fit before it is transferred. Unpacked it takes as much as packed, at the very least."""
    needed, free = action.resolution.size or 0, shutil.disk_usage(directory).free
    if needed > free:
        raise no_room(action.wanted.text, needed, directory.parent, free)
