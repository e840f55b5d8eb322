"""What status says of each extension, where a plan alone does not show it."""

from __future__ import annotations

from typing import Any

from reconciler.model.config.desired import desired_state
from reconciler.model.config.merge import Fragment
from reconciler.model.content.resolution import Resolution
from reconciler.model.fit.contents import Contents
from reconciler.model.fit.release import Host
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.plan.plan import make_plan
from reconciler.model.plan.status import CHECKS_PENDING, ExtensionStatus, State, View, extension_statuses
from reconciler.model.plan.target import target_for
from reconciler.model.state.checks import CheckRecord
from reconciler.model.state.entry import Entry
from reconciler.model.state.observed import Link, Merged, ObservedState

A = Entry(f"sha256:{'a' * 64}")
SOURCE = "docker://registry/x:v1"


def test_a_change_whose_checks_are_pending_says_what_is_awaited_and_until_when() -> None:
    (x,) = _statuses({"x": {"file": "/a"}}, CheckRecord().begun(ExtensionId("x"), A, None))
    assert (x.state, x.reason, x.code) == (State.PENDING, "waits for checks: /a", CHECKS_PENDING)
    assert x.waiting_until is None
    record = CheckRecord().begun(ExtensionId("x"), A, None).awaited([ExtensionId("x")], 99)
    (x,) = _statuses({"x": {"file": "/a"}}, record, node={"units": ["b.service"]})
    assert (x.reason, x.waiting_until) == ("waits for checks: /a, b.service", 99)


def test_what_has_no_checks_any_more_waits_for_none() -> None:
    (x,) = _statuses({"x": {}}, CheckRecord().begun(ExtensionId("x"), A, None))
    assert (x.state, x.reason) == (State.IN_SYNC, None)


def test_a_removal_waits_for_the_checks_of_the_node() -> None:
    gone = ExtensionId("gone", Kind.CONFEXT)
    record = CheckRecord().begun(gone, None, A).awaited([gone], 99)
    found, x = _statuses({"x": {}}, record, node={"file": "/a"})
    assert (found.name, found.kind, found.state) == ("gone", Kind.CONFEXT, State.PENDING)
    assert (found.reason, found.waiting_until) == ("removed; waits for checks: /a", 99)
    assert x.state is State.IN_SYNC
    assert len(_statuses({"x": {}}, record)) == 1


def _statuses(
    checks: dict[str, Any], record: CheckRecord, node: dict[str, Any] | None = None
) -> tuple[ExtensionStatus, ...]:
    """Of system extensions that are placed and merged."""
    tree = {"extensions": {name: {"source": SOURCE, "checks": it} for name, it in checks.items()}}
    desired = desired_state(Fragment(tree | ({"settings": {"checks": node}} if node else {})))
    targets = {it.name: target_for(it, Resolution(A.digest, A.digest)) for it in desired.extensions}
    observed = ObservedState(
        Host({}, "x86_64", 257),
        {ExtensionId(name): Link(name, A, 1) for name in checks},
        store={A: Contents({name: {"ID": "_any"} for name in checks})},
        merged={kind: Merged(frozenset(checks if kind is Kind.SYSEXT else ()), 2) for kind in Kind},
        checks=record,
    )
    return extension_statuses(View(desired, observed, targets, make_plan(desired, observed, targets)), (), {})
