"""Which of the desired extensions another OS would merge: what an OS update would leave of a node."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.errors import Failed, ReconcilerError, Unavailable
from reconciler.model.facts.hostfit import about_another_host
from reconciler.model.plan.plan import make_plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.config.desired import DesiredState, Wanted
    from reconciler.model.fit.contents import Contents
    from reconciler.model.fit.release import Host
    from reconciler.model.plan.action import Problem
    from reconciler.model.plan.target import Target, Targets
    from reconciler.model.state.entry import Entry
    from reconciler.model.state.observed import ObservedState


@dataclass(frozen=True, slots=True)
class ExtensionForecast:
    """Whether one extension would be merged there."""

    wanted: Wanted
    fits: bool | None  # None: it cannot be told
    target: Target | None = None  # what its source leads to for that OS
    stored: bool = False  # so that the first boot of that OS needs no network
    reason: str | None = None
    hint: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an OS would make of the configuration."""

    host: Host
    extensions: tuple[ExtensionForecast, ...]

    @property
    def fits(self) -> bool | None:
        """Whether every extension would be merged; None: it cannot be told of some, and of none that it would not."""
        answers = {it.fits for it in self.extensions}
        return False if False in answers else None if None in answers else True


def forecast(
    desired: DesiredState,
    observed: ObservedState,
    targets: Targets,
    looked_into: Mapping[Entry, Contents | ReconcilerError],
) -> Forecast:
    """Judge each extension by the plan that an empty node with that OS would make.

    `desired` and `targets` are as that OS has them, `observed` is that OS with this node's store, and of what is
    not in the store `looked_into` has the content, or why it could not be looked into.
    """
    contents = {entry: it for entry, it in looked_into.items() if not isinstance(it, ReconcilerError)}
    empty = replace(observed, links={}, merged=None, store={**contents, **observed.store})
    troubles = {item.extension: item for item in make_plan(desired, empty, targets).problems}
    found = (
        _forecast(it, targets[it.name], troubles.get(it.name), observed, looked_into) for it in desired.extensions
    )
    return Forecast(observed.host, tuple(found))


def _forecast(
    wanted: Wanted,
    target: Target | ReconcilerError,
    trouble: Problem | None,
    observed: ObservedState,
    looked_into: Mapping[Entry, Contents | ReconcilerError],
) -> ExtensionForecast:
    if isinstance(target, ReconcilerError):
        return _refusal(ExtensionForecast(wanted, None), target)
    stored, found = target.entry in observed.store, looked_into.get(target.entry)
    unknown = ExtensionForecast(wanted, None, target, stored)
    if trouble:
        return _refusal(unknown, trouble)
    if isinstance(found, ReconcilerError):
        return _refusal(unknown, found)
    if stored or found:
        return replace(unknown, fits=True, reason=_not_judged(wanted, observed))
    return replace(unknown, reason="it is not in the store", hint="without --offline it is fetched, or looked into")


def _refusal(unknown: ExtensionForecast, error: ReconcilerError | Problem) -> ExtensionForecast:
    """What this node or the network failed at says nothing about the other OS."""
    fits = None if isinstance(error, Unavailable | Failed) else False
    return replace(unknown, fits=fits, reason=about_another_host(error.message), hint=error.hint, code=error.code)


def _not_judged(wanted: Wanted, observed: ObservedState) -> str | None:
    if wanted.kernel is None or observed.host.kernel:
        return None
    return f"kernel: {wanted.kernel.text} is not judged without --kernel"
