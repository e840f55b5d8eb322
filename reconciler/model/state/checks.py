"""Which changes are yet to prove themselves by their checks, and which have failed them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.state.entry import Entry, parse_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Unproven:
    """A change whose checks have not passed yet."""

    entry: Entry | None  # None: it was removed
    previous: Entry | None  # what was there before, to go back to


@dataclass(frozen=True, slots=True)
class Bad:
    """A change that failed: not tried again under the same configuration."""

    entry: Entry | None  # None: the removal
    previous: Entry | None  # what was there before; None: nothing
    reason: str
    configuration: str  # the digest of the configuration that asked for it


@dataclass(frozen=True, slots=True)
class Health:
    """All of a node's."""

    unproven: Mapping[ExtensionId, Unproven] = field(default_factory=dict)
    bad: Mapping[ExtensionId, Bad] = field(default_factory=dict)

    def under(self, configuration: str) -> Health:
        """What counts under a configuration: another one gives what failed a new chance."""
        return replace(self, bad={ident: it for ident, it in self.bad.items() if it.configuration == configuration})

    def expecting(self, ident: ExtensionId, entry: Entry | None, previous: Entry | None) -> Health:
        """After a change. What is yet unproven itself is nothing to go back to."""
        before = self.unproven.get(ident)
        if before and before.entry == previous:
            previous = before.previous
        return replace(self, unproven={**self.unproven, ident: Unproven(entry, previous)})

    def proven(self, idents: Iterable[ExtensionId]) -> Health:
        """After checks have passed, or what was changed is not there any more."""
        left = {ident: it for ident, it in self.unproven.items() if ident not in set(idents)}
        return replace(self, unproven=left)

    def condemning(self, idents: Iterable[ExtensionId], reason: str, configuration: str) -> Health:
        """After checks have failed."""
        found = {ident: self.unproven[ident] for ident in idents if ident in self.unproven}
        bad = {ident: Bad(it.entry, it.previous, reason, configuration) for ident, it in found.items()}
        return replace(self.proven(found), bad={**self.bad, **bad})

    def forgiving(self, names: frozenset[str]) -> Health:
        """Without what failed of these extensions; no names: of all."""
        left = {ident: it for ident, it in self.bad.items() if names and ident.name not in names}
        return replace(self, bad=left)

    @property
    def entries(self) -> list[Entry]:
        """What of the store this speaks of."""
        pairs = [(it.entry, it.previous) for it in self.unproven.values()]
        pairs += [(it.entry, it.previous) for it in self.bad.values()]
        return [entry for pair in pairs for entry in pair if entry]


def health_as_json(health: Health) -> dict[str, Any]:
    """A record of it."""
    return {
        "unproven": [
            {**_subject(ident), "entry": _name(it.entry), "previous": _name(it.previous)}
            for ident, it in sorted(health.unproven.items())
        ],
        "bad": [
            {
                **_subject(ident),
                "entry": _name(it.entry),
                "previous": _name(it.previous),
                "reason": it.reason,
                "configuration": it.configuration,
            }
            for ident, it in sorted(health.bad.items())
        ],
    }


def health_from_json(record: Any) -> Health:  # noqa: ANN401 - JSON
    """What we did not write says nothing."""
    try:
        unproven = {_ident(it): Unproven(_entry(it["entry"]), _entry(it["previous"])) for it in record["unproven"]}
        bad = {
            _ident(it): Bad(_entry(it["entry"]), _entry(it["previous"]), str(it["reason"]), str(it["configuration"]))
            for it in record["bad"]
        }
    except (KeyError, TypeError, ValueError):
        return Health()
    return Health(unproven, bad)


def _subject(ident: ExtensionId) -> dict[str, str]:
    return {"name": ident.name, "kind": str(ident.kind)}


def _ident(record: Any) -> ExtensionId:  # noqa: ANN401 - JSON
    return ExtensionId(str(record["name"]), Kind(record["kind"]))


def _name(entry: Entry | None) -> str | None:
    return entry.file_name if entry else None


def _entry(name: str | None) -> Entry | None:
    entry = None if name is None else parse_entry(name)
    if name is not None and entry is None:
        raise ValueError(name)
    return entry
