"""Changes that have to pass checks: those whose checks are pending, and those that left the node degraded."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from reconciler.dataclass import dataclass
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.state.entry import Entry, parse_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class CheckedChange:
    """A change of one extension that stays only if its checks pass."""

    entry: Entry | None  # None: it was removed
    previous: Entry | None  # what was there before, to go back to; None: nothing
    reason: str = ""  # why the checks failed; empty: they have not been tried yet
    configuration: str = ""  # the digest of the one under which they failed, and under which this is not tried again
    until: float | None = None  # seconds since the epoch, when the checks are over that are being tried


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """All changes of a node that have not passed their checks."""

    pending: Mapping[ExtensionId, CheckedChange] = field(default_factory=dict)
    degraded: Mapping[ExtensionId, CheckedChange] = field(default_factory=dict)

    def under(self, configuration: str) -> CheckRecord:
        """What counts under a configuration: another one gives what failed a new chance."""
        left = {ident: it for ident, it in self.degraded.items() if it.configuration == configuration}
        return replace(self, degraded=left)

    def begun(self, ident: ExtensionId, entry: Entry | None, previous: Entry | None) -> CheckRecord:
        """After a change. What is pending itself is nothing to go back to."""
        before = self.pending.get(ident)
        if before and before.entry == previous:
            previous = before.previous
        return replace(self, pending={**self.pending, ident: CheckedChange(entry, previous)})

    def awaited(self, idents: Iterable[ExtensionId], until: float) -> CheckRecord:
        """While checks are tried, which takes no longer than that."""
        tried = {ident: replace(self.pending[ident], until=until) for ident in idents if ident in self.pending}
        return replace(self, pending={**self.pending, **tried})

    def as_of(self, now: float) -> CheckRecord:
        """Without times that are over: a run that was to be done by then was killed."""
        current = {ident: replace(it, until=_unless_over(it.until, now)) for ident, it in self.pending.items()}
        return replace(self, pending=current)

    def passed(self, idents: Iterable[ExtensionId]) -> CheckRecord:
        """After checks have passed, or what was changed is not there any more."""
        return replace(self, pending={ident: it for ident, it in self.pending.items() if ident not in set(idents)})

    def failed(self, idents: Iterable[ExtensionId], reason: str, configuration: str) -> CheckRecord:
        known = {ident: self.pending[ident] for ident in idents if ident in self.pending}
        failed = {
            ident: replace(it, reason=reason, configuration=configuration, until=None) for ident, it in known.items()
        }
        return replace(self.passed(known), degraded={**self.degraded, **failed})

    def without_failures_of(self, names: frozenset[str]) -> CheckRecord:
        """So that what failed of these extensions is tried again; no names: of all."""
        left = {ident: it for ident, it in self.degraded.items() if names and ident.name not in names}
        return replace(self, degraded=left)

    @property
    def entries(self) -> list[Entry]:
        """What of the store must stay on account of this record."""
        changes = [*self.pending.values(), *self.degraded.values()]
        return [entry for it in changes for entry in (it.entry, it.previous) if entry]


def _unless_over(until: float | None, now: float) -> float | None:
    return until if until is not None and until > now else None


def check_record_as_json(record: CheckRecord) -> dict[str, Any]:
    return {
        "pending": [_as_json(ident, it) for ident, it in sorted(record.pending.items())],
        "degraded": [_as_json(ident, it) for ident, it in sorted(record.degraded.items())],
    }


def check_record_from_json(document: Any) -> CheckRecord:  # noqa: ANN401 - JSON
    """What we did not write says nothing. Earlier versions called the two lists `unproven` and `bad`."""
    try:
        pending = document["unproven" if "unproven" in document else "pending"]
        degraded = document["bad" if "bad" in document else "degraded"]
        return CheckRecord(dict(map(_from_json, pending)), dict(map(_from_json, degraded)))
    except (AttributeError, KeyError, TypeError, ValueError):
        return CheckRecord()


def _as_json(ident: ExtensionId, change: CheckedChange) -> dict[str, Any]:
    return {
        "name": ident.name,
        "kind": str(ident.kind),
        "entry": change.entry.file_name if change.entry else None,
        "previous": change.previous.file_name if change.previous else None,
        "reason": change.reason,
        "configuration": change.configuration,
        "until": change.until,
    }


def _from_json(item: Any) -> tuple[ExtensionId, CheckedChange]:  # noqa: ANN401 - JSON
    reason, configuration = str(item.get("reason", "")), str(item.get("configuration", ""))
    until = None if item.get("until") is None else float(item["until"])
    change = CheckedChange(_entry(item["entry"]), _entry(item["previous"]), reason, configuration, until)
    return ExtensionId(str(item["name"]), Kind(item["kind"])), change


def _entry(name: str | None) -> Entry | None:
    entry = None if name is None else parse_entry(name)
    if name is not None and entry is None:
        raise ValueError(name)
    return entry
