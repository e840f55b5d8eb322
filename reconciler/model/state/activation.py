"""What of the merged extensions the running system has taken up since its boot: their users, files, caches, units.

What is merged and not recorded here with this very content is owed, whoever merged it and whatever came between.
The record lies where a reboot empties it: after a boot, everything that is merged is owed.
"""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from reconciler.dataclass import dataclass
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.state.entry import Entry, parse_entry
from reconciler.model.state.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Activated:
    """An extension that is merged, and what was done for it."""

    entry: Entry
    merged: int  # when this content was merged first, nanoseconds of CLOCK_MONOTONIC
    units: tuple[str, ...] = ()  # that it brings
    started: bool = False  # False: its units are still to be started, restarted or reloaded
    failed: Mapping[str, Retry] = field(default_factory=dict)  # what went wrong last, by step or unit
    ran: tuple[str, ...] = ()  # units that were started for this content
    is_left: bool = False  # nothing was done for it, since the configuration says `activation: none`


@dataclass(frozen=True, slots=True)
class Activation:
    """All of it."""

    extensions: Mapping[ExtensionId, Activated] = field(default_factory=dict)
    is_recorded: bool = True  # False: nothing was recorded since the boot

    def of(self, ident: ExtensionId, entry: Entry) -> Activated | None:
        """What was done for this very content."""
        known = self.extensions.get(ident)
        return known if known and known.entry == entry else None

    def failed(self, ident: ExtensionId) -> Mapping[str, Retry]:
        known = self.extensions.get(ident)
        return known.failed if known else {}

    def having(self, changed: Mapping[ExtensionId, Activated]) -> Activation:
        return replace(self, extensions={**self.extensions, **changed}, is_recorded=True)

    def without(self, gone: Iterable[ExtensionId]) -> Activation:
        left = {ident: it for ident, it in self.extensions.items() if ident not in set(gone)}
        return replace(self, extensions=left)


def activation_as_json(record: Activation) -> list[dict[str, Any]]:
    return [
        {
            "name": ident.name,
            "kind": str(ident.kind),
            "entry": it.entry.file_name,
            "merged": it.merged,
            "units": list(it.units),
            "started": it.started,
            "ran": list(it.ran),
            "left": it.is_left,
            "failed": {what: retry.as_json() for what, retry in it.failed.items()},
        }
        for ident, it in sorted(record.extensions.items())
    ]


def activation_from_json(document: Any) -> Activation:  # noqa: ANN401 - JSON
    """What we did not write says nothing: everything is owed then."""
    try:
        return Activation(dict(map(_from_json, document)))
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
        return Activation(is_recorded=False)


def _from_json(item: Any) -> tuple[ExtensionId, Activated]:  # noqa: ANN401 - JSON
    entry = parse_entry(item["entry"])
    if entry is None:
        raise ValueError(item["entry"])
    failed = {str(what): Retry.from_json(it) for what, it in item["failed"].items()}
    units, ran = (tuple(map(str, it)) for it in (item["units"], item.get("ran", ())))
    is_left = bool(item.get("left", False))
    known = Activated(entry, int(item["merged"]), units, bool(item["started"]), failed, ran, is_left)
    return ExtensionId(str(item["name"]), Kind(item["kind"])), known
