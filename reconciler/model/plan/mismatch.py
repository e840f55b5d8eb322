"""What the overlay of a kind shall show after a refresh, what it shows instead, and how that is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.model.state.observed import Merged, Unmanaged

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.model.kind import Kind

_WORDS_MAX: Final = 400  # characters; a mount that fails is told with the paths of all layers
_LISTED_MAX: Final = 10


@dataclass(frozen=True, slots=True)
class Expectation:
    """What the overlay of a kind shall show after a refresh."""

    kind: Kind
    merged: frozenset[str]
    gone: frozenset[str] = frozenset()
    others: frozenset[str] = frozenset()  # what livelayer did not place


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What it shows instead."""

    kind: Kind
    unmerged: frozenset[str]
    still_merged: frozenset[str]
    words: str  # what systemd had to say
    before: Merged = Merged()
    now: Merged = Merged()
    lost: frozenset[str] = frozenset()  # what was merged and could still be, and is not
    suspects: tuple[Unmanaged, ...] = ()  # placed by others; what was not merged before comes first
    newcomers: tuple[Unmanaged, ...] = ()  # of the suspects, those that were not merged before
    culprits: tuple[Path, ...] = ()  # of the suspects, those beside which nothing merges
    refused: str = ""  # why there was no refresh at all
    advice: str = ""

    @property
    def untouched(self) -> bool:
        """Whether what is merged is the very overlay that was there before."""
        return self.before == self.now

    @property
    def concealments(self) -> tuple[tuple[Unmanaged, ...], ...]:
        """What to hide while the old overlay is made again, in the order of attempts; nothing if it is not gone."""
        if not (self.lost and self.suspects):
            return ((),)
        known = tuple(it for it in self.suspects if it.path in self.culprits or it in self.newcomers)
        return tuple(dict.fromkeys(hidden for hidden in (known, self.suspects) if hidden))

    @property
    def reason(self) -> str:
        parts = [f"{', '.join(sorted(self.unmerged))} did not merge"] if self.unmerged else []
        parts += [f"{', '.join(sorted(self.still_merged))} did not go"] if self.still_merged else []
        if self.refused:
            return f"there was no refresh, so {' and '.join(parts)}: {self.refused}"
        said = (
            f"systemd-{self.kind}: {_shortened(self.words)}" if self.words else f"systemd-{self.kind} gave no reason"
        )
        blame = f"; nothing merges beside {listed(self.culprits)}" if self.culprits else ""
        return f"after a refresh {' and '.join(parts)} ({said}){blame}"

    @property
    def hint(self) -> str:
        if self.advice:
            return self.advice
        if self.culprits:
            return f"remove or replace {listed(self.culprits)}, which livelayer did not place"
        look = f"look at: SYSTEMD_LOG_LEVEL=debug systemd-{self.kind} refresh"
        suspects = listed([it.path for it in self.suspects])
        return f"{look}; one of these may block all: {suspects}" if suspects else look


def _shortened(words: str) -> str:
    return words if len(words) <= _WORDS_MAX else f"{words[: _WORDS_MAX // 2]} ... {words[-_WORDS_MAX // 2 :]}"


def listed(found: Sequence[Path]) -> str:
    shown = ", ".join(str(path) for path in found[:_LISTED_MAX])
    return f"{shown} and {len(found) - _LISTED_MAX} more" if len(found) > _LISTED_MAX else shown
