"""Generations: which extensions a node had after each successful change, with their digests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from reconciler.dataclass import dataclass
from reconciler.model.content.resolution import Resolution, resolution_as_json, resolution_from_json
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.state.entry import Entry, parse_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from reconciler.model.config.merge import Tree
    from reconciler.model.config.settings import Retention

FORMAT: Final = 1  # of the record; a higher one was written by a newer livelayer
_ALWAYS_KEPT: Final = 2  # the present one, and the one to roll back to


@dataclass(frozen=True, slots=True)
class Placed:
    """An extension as a generation has it."""

    entry: Entry
    resolution: Resolution  # what its source led to
    source: str | None = None  # as the user wrote it; None: no file listed it any more


@dataclass(frozen=True, slots=True)
class Generation:
    """What was placed on the node after a successful change."""

    number: int
    time: datetime
    cause: str  # what made the change, for people
    tree: Tree | None  # the configuration in force, as written; None: there was none
    extensions: Mapping[ExtensionId, Placed]

    @property
    def entries(self) -> dict[ExtensionId, Entry]:
        return {ident: placed.entry for ident, placed in self.extensions.items()}


@dataclass(frozen=True, slots=True)
class Change:
    """What one generation has changed of an extension."""

    ident: ExtensionId
    old: Entry | None
    new: Entry | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """Something that is not needed any more."""

    path: Path
    what: str  # generation, content, blob or record
    size: int  # bytes on disk


def changes(before: Generation | None, after: Generation) -> list[Change]:
    old, new = before.entries if before else {}, after.entries
    idents = sorted(ident for ident in old.keys() | new.keys() if old.get(ident) != new.get(ident))
    return [Change(ident, old.get(ident), new.get(ident)) for ident in idents]


def expired(generations: Sequence[Generation], retention: Retention, now: datetime) -> list[Generation]:
    """Which generations are not to be kept any longer; `generations` in the order of their numbers."""
    most = max(retention.generations, _ALWAYS_KEPT)
    old = generations[:-most]
    if retention.age is not None:
        oldest = now - retention.age
        old = [it for it in generations[:-_ALWAYS_KEPT] if it in old or it.time < oldest]
    return list(old)


def previous(
    generations: Iterable[Generation], number: int | None, present: Mapping[ExtensionId, Entry] | None = None
) -> Generation | None:
    """The generation to roll back to: the one with this number, or else the one before the present one.

    Where what is `present` was never recorded, since it did not do well, that is the last one.
    """
    ordered = sorted(generations, key=lambda it: it.number)
    if number is None:
        is_recorded = present is None or not ordered or ordered[-1].entries == present
        return next(iter(ordered[:-1][-1:] if is_recorded else ordered[-1:]), None)
    return next((it for it in ordered if it.number == number), None)


def generation_as_json(it: Generation) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "number": it.number,
        "time": it.time.isoformat(timespec="seconds"),
        "cause": it.cause,
        "configuration": it.tree,
        "extensions": [_placed_as_json(ident, placed) for ident, placed in sorted(it.extensions.items())],
    }


def _placed_as_json(ident: ExtensionId, placed: Placed) -> dict[str, Any]:
    return {
        "name": ident.name,
        "kind": str(ident.kind),
        "entry": placed.entry.file_name,
        "source": placed.source,
        "resolution": resolution_as_json(placed.resolution),
    }


def generation_from_json(record: Any) -> Generation | None:  # noqa: ANN401 - JSON
    """None for what we did not write."""
    try:
        return Generation(
            int(record["number"]),
            datetime.fromisoformat(record["time"]).astimezone(UTC),
            str(record["cause"]),
            record["configuration"],
            dict(_placed_from_json(it) for it in record["extensions"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _placed_from_json(record: Any) -> tuple[ExtensionId, Placed]:  # noqa: ANN401 - JSON
    entry = parse_entry(record["entry"])
    if entry is None:
        raise ValueError(record["entry"])
    resolution = resolution_from_json(record["resolution"]) or Resolution(entry.digest, entry.digest)
    return ExtensionId(str(record["name"]), Kind(record["kind"])), Placed(entry, resolution, record["source"])
