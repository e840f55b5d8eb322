"""Nodes with a system extension `x` that is placed, as a run sees them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml

from reconciler.model.config.desired import desired_state
from reconciler.model.config.merge import Fragment
from reconciler.model.content.resolution import Resolution
from reconciler.model.fit.contents import Contents
from reconciler.model.fit.release import Host
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.plan.plan import make_plan
from reconciler.model.plan.status import View
from reconciler.model.plan.target import target_for
from reconciler.model.state.activation import Activated, Activation
from reconciler.model.state.entry import Entry
from reconciler.model.state.observed import Link, Merged, ObservedState
from reconciler.model.state.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.state.units import Unit

X = ExtensionId("x")
NEW, OLD, OLDEST = (Entry(f"sha256:{letter * 64}") for letter in "abc")
NOW = 100.0
SOURCE = "docker://registry/x:v1"


def node(*units: Unit, brings: Sequence[str] = (), **changes: Any) -> ObservedState:  # noqa: ANN401 - any of its fields
    """One on which NEW is placed and merged."""
    contents = Contents({"x": {"ID": "_any"}}, units=tuple(brings))
    observed = ObservedState(
        Host({}, "x86_64", 257),
        {X: Link("x", NEW, 1)},
        store=dict.fromkeys((NEW, OLD, OLDEST), contents),
        merged={Kind.SYSEXT: Merged(frozenset({"x"}), 2), Kind.CONFEXT: Merged()},
        activation=activated(),
        looked_at=NOW,
        units={it.name: it for it in units},
    )
    return replace(observed, **changes)


def activated(entry: Entry = NEW, failed: Sequence[str] = (), **changes: Any) -> Activation:  # noqa: ANN401 - as above
    """Of `x`, at 100 ns; what failed is tried again later than now."""
    retries = {it: Retry(1, NOW + 400, "unit.start-failed", f"{it} failed", f"look at {it}") for it in failed}
    return Activation({X: replace(Activated(entry, 100, started=True, failed=retries), **changes)})


def view(observed: ObservedState, keys: str = "{}", settings: str = "{}") -> View:
    """What follows from it, with these keys of `x`; its source leads to NEW."""
    extension = {"source": SOURCE, **yaml.safe_load(keys)}
    desired = desired_state(Fragment({"settings": yaml.safe_load(settings), "extensions": {"x": extension}}))
    targets = {it.name: target_for(it, Resolution(NEW.digest, NEW.digest)) for it in desired.extensions}
    return View(desired, observed, targets, make_plan(desired, observed, targets))
