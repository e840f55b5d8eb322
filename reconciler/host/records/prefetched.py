"""The record of content that waits in the store for an OS that is yet to be booted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.host.base.durable import read_json, write_json
from reconciler.model.state.entry import parse_entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths


def read_prefetched(paths: Paths) -> frozenset[Entry]:
    match read_json(paths.prefetched):
        case {"entries": [*names]} if all(isinstance(it, str) for it in names):
            return frozenset(filter(None, map(parse_entry, names)))
        case _:
            return frozenset()


def write_prefetched(paths: Paths, entries: Iterable[Entry]) -> None:
    write_json(paths.prefetched, {"entries": sorted(it.file_name for it in entries)})
