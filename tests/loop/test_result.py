"""What `status`, `plan`, `explain` and their JSON say of one and the same node."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.loop import generations
from reconciler.loop.reconcile import Result
from reconciler.model.facts.needs import Chore
from reconciler.model.kind import Kind
from reconciler.model.plan.activation import retries
from reconciler.model.plan.plan import make_plan
from reconciler.model.plan.status import ExtensionStatus, Standing, State
from reconciler.model.state.activation import Activation
from reconciler.model.state.checks import CheckedChange, CheckRecord
from reconciler.model.state.observed import Link, Merged, ObservedState, Unmanaged
from reconciler.model.state.units import Unit, UnitWord
from reconciler.report import documents, explanation
from tests.model.plan.nodes import NEW, NOW, OLD, OLDEST, X, activated, node, view

if TYPE_CHECKING:
    from reconciler.model.plan.status import View
    from reconciler.paths import Paths

UNMERGED = {kind: Merged() for kind in Kind}
BOOT = "{refresh: boot}"


def up(name: str, started: int = 200) -> Unit:
    return Unit(name, "loaded", "active", "running", started=started, since="Mon 2026-11-30 17:30:54 UTC")


def failed(name: str) -> Unit:
    return Unit(name, "loaded", "failed", "failed", "exit-code")


def _result(it: View) -> Result:
    tried = retries(it.desired, it.observed)
    return Result(it, it.plan.problems, warnings=it.plan.warnings, standing=Standing(retries=tried))


def _told(observed: ObservedState, keys: str = "{}", settings: str = "{}") -> tuple[Result, ExtensionStatus]:
    result = _result(view(observed, keys, settings))
    status = next(it for it in result.statuses if it.name == "x")
    documented = documents.status_document(result.node)
    assert (
        documented["in_sync"] == documents.plan_document(result.view.plan, result.node)["in_sync"] == result.in_sync
    )
    assert status.reason is None or not status.reason.startswith("x:")
    explained = _explained(result, status)
    assert (explained["state"], explained["reason"]) == (status.state, status.reason)
    return result, status


def _explained(result: Result, status: ExtensionStatus) -> dict[str, Any]:
    return explanation.explain(status, result.view, result.problems)


def _lines(result: Result, status: ExtensionStatus) -> dict[str, str]:
    lines = explanation.lines(_explained(result, status))
    return {line[2:11].strip(): line[12:] for line in lines[1:]}


@pytest.mark.parametrize("keys", ["{}", "{units: {start: [a.service]}}", "{units: {reload: [a.service]}}"])
@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize("chore", [Chore.TMPFILES, Chore.SYSUSERS, Chore.LDCONFIG])
def test_a_failed_chore_is_not_in_sync_with_units_and_without(chore: Chore, started: bool, keys: str) -> None:  # noqa: FBT001 - a case
    result, x = _told(node(up("a.service"), activation=activated(failed=[chore], started=started)), keys)
    assert not result.in_sync
    assert (x.state, x.reason, x.retry_at) == (State.FAILED, f"{chore} failed", NOW + 400)
    (problem,) = documents.status_document(result.node)["problems"]
    assert (problem["extension"], problem["message"]) == ("x", f"{chore} failed")
    shown = _lines(result, x)
    assert shown["to do"].startswith(f"activate what is merged (x: {chore} failed)") or "start" in shown["to do"]
    assert shown["again at"] == documents.rfc3339(NOW + 400)


@pytest.mark.parametrize("looked_at", [NOW, None])
def test_what_was_not_taken_up_makes_no_generation(paths: Paths, looked_at: float | None) -> None:
    for activation in (activated(failed=[Chore.TMPFILES]), Activation()):
        it = view(node(activation=activation, looked_at=looked_at))
        assert generations.record(paths, None, it, None, "test") is None
    assert generations.record(paths, None, view(node(looked_at=looked_at)), None, "test")


def test_a_failed_chore_of_what_nothing_lists_any_more_is_told() -> None:
    observed = node(activation=activated(failed=[Chore.TMPFILES], started=False))
    listed = view(observed, settings="{prune: false, allow_empty: true}")
    desired = replace(listed.desired, extensions=())
    result = _result(replace(listed, desired=desired, plan=make_plan(desired, observed, {})))
    assert [(it.state, it.reason) for it in result.statuses] == [(State.FAILED, f"{Chore.TMPFILES} failed")]
    assert not result.in_sync


def test_activation_that_was_turned_on_is_owed() -> None:
    left = node(activation=activated(is_left=True, failed=["a.service"]))
    result, x = _told(left)
    assert (x.state, x.reason, result.in_sync) == (State.DRIFTED, "is merged and not activated yet", False)
    (activate,) = result.view.plan.actions
    assert documents.action_line(activate) == "activate what is merged (x: not activated yet)"
    assert _told(left, "{activation: none}")[0].in_sync


def test_a_unit_that_failed_and_that_nothing_asks_for_is_told_and_in_sync() -> None:
    bad = Unit("bad.service", "loaded", "activating", "auto-restart", "exit-code")
    worse = failed("worse.service")
    known = activated(units=("10-x.conf", "bad.service", "old.service", "worse.service"))
    result, x = _told(node(bad, worse, up("old.service", 50), activation=known))
    assert result.in_sync
    assert x.state is State.IN_SYNC
    assert (x.reason or "").split("; ") == [
        "bad.service is activating (auto-restart, exit-code)",
        "worse.service is failed (exit-code)",
        "old.service runs since before its content changed",
    ]
    assert [(it.name, it.state) for it in x.units] == [
        ("bad.service", UnitWord.FAILED),
        ("old.service", UnitWord.OLD_CODE),
        ("worse.service", UnitWord.FAILED),
    ]


def test_several_units_that_fail_are_all_in_the_reason() -> None:
    keys = "{units: {start: [a.service, b.service]}}"
    units = (failed("a.service"), failed("b.service"))
    result, x = _told(node(*units, activation=activated(failed=["a.service", "b.service"])), keys)
    assert (x.state, x.reason) == (State.FAILED, "a.service failed; b.service failed")
    assert list(documents.ways_out(result.node)) == ["  x: look at a.service", "  x: look at b.service"]
    shown = _lines(result, x)
    assert shown["to do"].startswith("start a.service b.service of x (a.service is failed (exit-code); b.service is")
    assert shown["units"] == "a.service (failed), b.service (failed)"
    assert "problem" not in shown
    _, x = _told(node(*units), keys)
    assert (x.state, x.reason) == (
        State.DRIFTED,
        "a.service is failed (exit-code); b.service is failed (exit-code)",
    )


def test_what_is_not_merged_was_not_merged() -> None:
    """After a boot that merged nothing, after an unmerge by hand, and before anything was activated."""
    keys = "{units: {start: [a.service], reload: [c.service]}}"
    for activation in (Activation(), activated()):
        result, x = _told(node(merged=UNMERGED, activation=activation), keys)
        assert (x.state, x.merged, x.reason) == (State.DRIFTED, False, "is placed but not merged")
        assert "since the merge" not in "".join(map(documents.action_line, result.view.plan.actions))
    result, x = _told(node(activation=Activation()), keys)
    assert (x.state, x.merged, x.reason) == (State.DRIFTED, True, "is merged and not activated yet")
    assert [documents.action_line(it) for it in result.view.plan.actions] == [
        "activate what is merged (x: not activated yet)",
        "start a.service, reload c.service of x (is merged and not activated yet)",
    ]
    _, x = _told(node(activation=activated(started=False)), keys)
    assert x.reason == "its units were not started yet"
    result, _ = _told(node(merged=UNMERGED), settings=BOOT)
    (activate,) = result.view.plan.actions
    assert documents.action_line(activate) == "activate what is merged (x: not merged any more)"


def test_units_have_states_before_they_are_activated_and_while_the_old_version_runs() -> None:
    names = ("a.service", "multi-user.target.d", "t@.service")
    _, x = _told(node(up("a.service"), brings=names, activation=Activation()))
    assert [(it.name, it.state) for it in x.units] == [("a.service", UnitWord.RUNNING)]
    waiting = node(
        up("a.service"), links={X: Link("x", NEW, 3)}, activation=activated(OLD, units=("a.service",)), brings=names
    )
    result, x = _told(waiting, settings=BOOT)
    assert [(it.name, it.state) for it in x.units] == [("a.service", UnitWord.RUNNING)]
    assert _lines(result, x)["units"] == "a.service (running), t@.service"


@pytest.mark.parametrize("before", [Activation(), activated(OLD, units=("a.service",))])
@pytest.mark.parametrize(("started", "word"), [(400, UnitWord.OLD_CODE), (600, UnitWord.RUNNING)])
def test_a_unit_runs_old_code_also_before_what_others_merged_is_activated(
    before: Activation, started: int, word: UnitWord
) -> None:
    """It was merged 500 ns before the look, which was at 1000 on the clock of units."""
    merged = {Kind.SYSEXT: Merged(frozenset({"x"}), int(NOW * 10**9) - 500), Kind.CONFEXT: Merged()}
    unit = replace(up("a.service", started), seen=1000)
    _, x = _told(node(unit, brings=("a.service",), activation=before, merged=merged))
    assert [it.state for it in x.units] == [word]


def test_what_waits_for_the_boot_is_not_in_sync_and_no_run_has_more_to_do() -> None:
    result, x = _told(node(links={X: Link("x", NEW, 3)}, activation=activated(OLD)), settings=BOOT)
    assert (x.state, x.reason) == (State.PENDING, "will be merged at the next boot")
    assert (result.in_sync, result.converged, result.problems) == (False, True, ())
    assert documents.plan_lines(result.view.plan, result.verdict) == ["waits for the merge at boot: x"]
    assert _told(node(), settings=BOOT)[0].in_sync
    assert _told(node(merged=None, activation=None), settings=BOOT)[0].in_sync  # another root


def test_what_is_removed_with_the_next_boot_is_not_in_sync_until_then() -> None:
    merged = {Kind.SYSEXT: Merged(frozenset({"x", "gone"}), 2), Kind.CONFEXT: Merged()}
    result, _ = _told(node(merged=merged), settings=BOOT)
    gone = next(it for it in result.statuses if it.name == "gone")
    assert (gone.state, gone.reason) == (State.PENDING, "is merged until the next boot")
    assert (result.in_sync, result.converged) == (False, True)
    others = (Unmanaged("gone", Path("/etc/extensions/gone")),)
    assert _told(node(merged=merged, unmanaged=others), settings=BOOT)[0].in_sync
    result, _ = _told(node(merged=merged))
    assert [it.state for it in result.statuses] == [State.UNMANAGED, State.IN_SYNC]


def _degraded(link: Link | None, since: int = 2, previous: bool = True) -> ObservedState:  # noqa: FBT001, FBT002 - a case
    change = CheckedChange(NEW, OLD if previous else None, "it broke")
    merged = {Kind.SYSEXT: Merged(frozenset({"x"} if since else ()), since or None), Kind.CONFEXT: Merged()}
    return node(links={X: link} if link else {}, checks=CheckRecord({}, {X: change}), merged=merged)


@pytest.mark.parametrize(
    ("observed", "settings", "instead"),
    [
        (_degraded(Link("x", OLD, 1)), "{}", f"{OLD.digest[:19]} takes its place"),
        (_degraded(Link("x", OLDEST, 1)), "{}", f"{OLDEST.digest[:19]} takes its place"),  # rolled back, and released
        (_degraded(Link("x", NEW, 1)), "{}", f"{OLD.digest[:19]} takes its place"),
        (_degraded(Link("x", NEW, 1)), BOOT, f"{OLD.digest[:19]} takes its place at the next boot"),
        (_degraded(Link("x", OLD, 3)), BOOT, f"{OLD.digest[:19]} takes its place at the next boot"),
        (_degraded(Link("x", OLD, 1)), BOOT, f"{OLD.digest[:19]} takes its place"),
        (_degraded(None, previous=False), BOOT, "it is withdrawn at the next boot"),
        (_degraded(None, since=0, previous=False), BOOT, "it is withdrawn"),
        (_degraded(Link("x", NEW, 1), previous=False), "{}", "it is withdrawn"),
    ],
)
def test_what_is_in_the_place_of_what_failed(observed: ObservedState, settings: str, instead: str) -> None:
    _, x = _told(observed, "{checks: {file: /a}}", settings)
    assert x.state is State.FAILED
    assert (x.reason or "").endswith(f"failed its checks: it broke; {instead}")


@pytest.mark.parametrize(
    ("merges", "starts", "codes"),
    [
        (frozenset(), False, ["boot.not-merged"]),
        (frozenset({Kind.SYSEXT}), False, ["boot.not-started"]),
        (frozenset({Kind.SYSEXT}), True, []),
        (None, None, []),
    ],
)
def test_what_a_boot_will_not_do_is_a_warning_everywhere(
    merges: frozenset[Kind] | None,
    starts: bool | None,  # noqa: FBT001 - a case
    codes: list[str],
) -> None:
    keys = "{units: {start: [a.service]}}"
    result, _ = _told(node(up("a.service"), boot_merges=merges, boot_starts=starts), keys)
    assert result.in_sync
    for document in (
        documents.status_document(result.node),
        documents.plan_document(result.view.plan, result.node),
    ):
        assert [it["code"] for it in document["warnings"]] == codes
