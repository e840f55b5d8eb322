"""What was activated: what of it is tried again, and how units are judged that systemd has forgotten."""

from __future__ import annotations

import json

import pytest

from reconciler.model.config.desired import DesiredState, desired_state
from reconciler.model.config.merge import Fragment
from reconciler.model.facts.needs import Chore
from reconciler.model.fit.release import Host
from reconciler.model.kind import ExtensionId
from reconciler.model.plan.activation import retries, runnable, word_of
from reconciler.model.state.activation import Activated, Activation, activation_as_json, activation_from_json
from reconciler.model.state.entry import Entry
from reconciler.model.state.observed import ObservedState
from reconciler.model.state.retry import Retry
from reconciler.model.state.units import Unit, UnitWord

HOST = Host({"ID": "debian", "VERSION_ID": "12"}, "x86_64", 252)
A = ExtensionId("a")
FAILED = {what: Retry(1, at, "x", what) for what, at in (("a.service", 50.0), (Chore.TMPFILES, 70.0))}


def _known(**given: object) -> Activated:
    return Activated(Entry("sha256:" + "a" * 64), 100, **given)  # type: ignore[arg-type]  # any of its fields


def _desired(*start: str) -> DesiredState:
    return desired_state(Fragment({"extensions": {"a": {"source": "docker://r/a:v1", "units": {"start": [*start]}}}}))


def _up(name: str) -> Unit:
    return Unit(name, "loaded", "active", started=200)


def test_only_what_fails_still_and_is_wanted_still_is_tried_again() -> None:
    """Else a time that has passed would let one run follow the other for ever."""
    record = Activation({A: _known(failed=FAILED)})

    def first(*start: str, **units: Unit) -> str | None:
        observed = ObservedState(HOST, activation=record, units={it.name: it for it in units.values()})
        found = retries(_desired(*start), observed)
        return found["a"].message if found else None

    assert first("a.service") == "a.service"
    assert first("a.service", running=_up("a.service")) == Chore.TMPFILES
    assert first("other.service") == Chore.TMPFILES
    record = Activation({A: _known(failed={"a.service": FAILED["a.service"]})})
    assert first("a.service", running=_up("a.service")) is None
    assert first() is None


@pytest.mark.parametrize(
    ("unit", "word"),
    [
        (Unit("o", "loaded", is_oneshot=True), UnitWord.FINISHED),
        (Unit("other", "loaded", is_oneshot=True), UnitWord.STOPPED),
        (Unit("o", "loaded"), UnitWord.STOPPED),
        (Unit("o", "loaded", is_oneshot=True, stopped=50), UnitWord.STOPPED),
        (Unit("o", "loaded", "failed", is_oneshot=True), UnitWord.FAILED),
        (Unit("o", "loaded", "activating", "start", is_oneshot=True, started=200), UnitWord.RUNNING),
        (Unit("o", "loaded", "activating", "start", started=200), UnitWord.STARTING),
        (Unit("o", "loaded", "activating", "start", started=50), UnitWord.OLD_CODE),
        (Unit("o", "loaded", "activating", "auto-restart", started=200), UnitWord.FAILED),
        (Unit("o", "loaded", "active", started=200, restarts=3, seen=10**9), UnitWord.FAILED),
        (Unit("o", "loaded", "active", started=200, restarts=3, seen=10**12), UnitWord.RUNNING),
        (Unit("o", "loaded", "active", started=200, restarts=2, seen=10**9), UnitWord.RUNNING),
    ],
)
def test_word_of_a_unit_that_was_started(unit: Unit, word: UnitWord) -> None:
    assert word_of(unit.name, {unit.name: unit}, _known(ran=("o",))) is word


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        (Unit("o"), "not found"),
        (Unit("o", "masked"), "masked"),
        (Unit("o", "loaded", condition=False), "not started, since a condition of it does not hold"),
        (Unit("o", "loaded", "failed", "failed", "exit-code"), "failed (exit-code)"),
        (Unit("o", "loaded", "failed", "failed"), "failed"),
        (Unit("o", "loaded", "activating", "auto-restart", "exit-code"), "activating (auto-restart, exit-code)"),
        (Unit("o", "loaded", "activating", "auto-restart"), "activating (auto-restart)"),
        (Unit("o", "loaded", "activating", "start", "exit-code"), "activating"),
        (Unit("o", "loaded"), "inactive"),
    ],
)
def test_a_unit_in_words(unit: Unit, words: str) -> None:
    assert unit.words == words


def test_templates_do_not_run() -> None:
    assert runnable(["a@.service", "a@b.service", "c.timer", "d.target"]) == ["a@b.service", "c.timer"]


def test_the_record_as_json_and_what_is_no_such_record() -> None:
    record = Activation({A: _known(units=("a.service",), started=True, failed=FAILED, ran=("o",))})
    document = json.loads(json.dumps(activation_as_json(record)))
    assert activation_from_json(document) == record
    (item,) = document
    del item["ran"]  # as an older version wrote it
    assert activation_from_json([item]).extensions[A].ran == ()
    retry = item["failed"]["a.service"]
    values: list[object] = [float("inf"), float("nan"), 1e300, -1, [], None]
    damages = [{**item, "merged": float("inf")}, {**item, "entry": "x"}, {**item, "kind": "x"}]
    damages += [
        {**item, "failed": {"a.service": {**retry, key: value}}} for key in ("at", "failures") for value in values
    ]
    for damaged in damages:
        assert not activation_from_json([damaged]).is_recorded
