"""The whole loop on miniature nodes: real files, real links, no overlay (another root) and no programs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.errors import Invalid, Terminated, Unavailable
from reconciler.fetch.fetcher import fetch
from reconciler.fetch.transports.local import Local
from reconciler.host.base import termination
from reconciler.host.merge import links
from reconciler.loop import apply, preflight
from reconciler.loop.apply import Applier, Outcome
from reconciler.loop.reconcile import look, status
from reconciler.loop.session import Options
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.plan.action import Problem
from reconciler.model.plan.status import State
from tests.luck import examples
from tests.seed import configure, converge, entry, fill_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.loop.reconcile import Result
    from reconciler.model.plan.action import Fetch, Plan
    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths

ONE = "docker://registry/one:v1"
TWO = "docker://registry/two:v1"
BOTH = f"extensions: {{one: {{source: '{ONE}'}}, two: {{source: '{TWO}'}}}}"


def _placed(paths: Paths) -> dict[str, str]:
    return {ident.name: link.entry.digest[7] for ident, link in links.read_links(paths, 252).links.items()}


def _states(result: Result) -> dict[str, State]:
    return {item.name: item.state for item in result.statuses}


def test_the_node_agrees_with_its_configuration_after_one_run(paths: Paths) -> None:
    configure(paths, BOTH)
    fill_store(paths, ONE, "one", "a")
    fill_store(paths, TWO, "two", "b")

    assert [type(action).__name__ for action in look(paths, Options()).view.plan.actions] == ["Place", "Place"]
    assert _placed(paths) == {}
    assert converge(paths).in_sync
    assert _placed(paths) == {"one": "a", "two": "b"}
    assert look(paths, Options()).in_sync


def test_the_status_document_is_written_after_every_run(paths: Paths) -> None:
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    fill_store(paths, ONE, "one", "a")
    (paths.links(Kind.SYSEXT) / "byhand").mkdir()
    converge(paths)
    document = json.loads(paths.status.read_text())
    assert document["in_sync"] is True
    assert document["time"].endswith("+00:00")
    assert document["extensions"] == [
        {
            "name": "byhand",
            "kind": "sysext",
            "state": "unmanaged",
            "source": None,
            "desired": None,
            "placed": None,
            "merged": False,
            "version": None,
            "code": None,
            "reason": f"placed by others: {paths.links(Kind.SYSEXT)}/byhand",
            "retry_at": None,
            "waiting_until": None,
            "units": [],
        },
        {
            "name": "one",
            "kind": "sysext",
            "state": "in-sync",
            "source": ONE,
            "desired": entry("a").digest,
            "placed": entry("a").digest,
            "merged": False,
            "version": "v1",
            "code": None,
            "reason": None,
            "retry_at": None,
            "waiting_until": None,
            "units": [],
        },
    ]


def test_a_misfit_is_told_and_the_othersconverge(paths: Paths) -> None:
    configure(paths, BOTH)
    fill_store(paths, ONE, "one", "a", "ID=fedora\n")
    fill_store(paths, TWO, "two", "b")
    result = converge(paths, offline=True)
    assert not result.in_sync
    assert _placed(paths) == {"two": "b"}
    assert _states(result) == {"one": State.FAILED, "two": State.IN_SYNC}
    assert "ID=fedora, this host has ID=debian" in result.problems[0].sentence


@pytest.mark.commands
@pytest.mark.parametrize("what", ["look_up", "open"])
@pytest.mark.parametrize("error", [ZeroDivisionError("why"), OSError(5, "why"), RecursionError("why")])
def test_whatever_goes_wrong_with_a_source_is_its_own_trouble(
    paths: Paths, what: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bad", "good"):
        release = paths.root / f"{name}/usr/lib/extension-release.d/extension-release.{name}"
        release.parent.mkdir(parents=True)
        release.write_text("ID=_any\n")
    configure(paths, "extensions: {bad: {source: 'file:///bad'}, good: {source: 'file:///good'}}")
    method = getattr(Local, what)

    def fail(self: Local, it: Any, *rest: Any) -> Any:  # noqa: ANN401 - either method
        part = it if what == "look_up" else it.part
        if part.source.reference == "/bad":
            raise error
        return method(self, it, *rest)

    monkeypatch.setattr(Local, what, fail)
    result = converge(paths)
    assert _placed(paths).keys() == {"good"}
    (problem,) = result.problems
    assert problem.extension == "bad"
    assert problem.message == (
        "file:///bad: why" if isinstance(error, OSError) else f"file:///bad: unexpected {type(error).__name__}: why"
    )
    assert problem.code == ("disk.broken" if isinstance(error, OSError) else "unexpected")


@pytest.mark.commands
@pytest.mark.parametrize("fails", [False, True])
def test_what_is_ready_is_placed_while_one_source_is_still_at_work(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    """The slow one ends when the others are placed and removed, and not before."""
    monkeypatch.setattr(apply, "_HOLDUP", 1.0)  # more than the good one takes on a busy machine
    for name in ("slow", "good"):
        release = paths.root / f"{name}/usr/lib/extension-release.d/extension-release.{name}"
        release.parent.mkdir(parents=True)
        release.write_text("ID=_any\n")
    configure(paths, BOTH)
    fill_store(paths, ONE, "one", "a")
    fill_store(paths, TWO, "two", "b")
    converge(paths)

    def fetch_slowly(action: Fetch, *rest: Any) -> Fetch:  # noqa: ANN401 - passed on
        deadline = time.monotonic() + 60
        while action.wanted.name == "slow" and _placed(paths).keys() != {"one", "good"}:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if action.wanted.name == "slow" and fails:
            raise Unavailable("gone")
        return fetch(action, *rest)

    monkeypatch.setattr(apply, "fetch", fetch_slowly)
    configure(
        paths,
        f"extensions: {{one: {{source: '{ONE}'}}, slow: {{source: 'file:///slow'}}, good: {{source: 'file:///good'}}}}",
    )
    result = converge(paths)
    assert _placed(paths).keys() == ({"one", "good"} if fails else {"one", "good", "slow"})
    assert [it.message for it in result.problems] == (["gone"] if fails else [])
    done = [type(it.action).__name__ for it in result.outcomes if not it.error and not it.skipped]
    assert sorted(done) == ["Fetch", *([] if fails else ["Fetch"]), "Place", *([] if fails else ["Place"]), "Remove"]


@pytest.mark.commands
def test_each_of_several_slow_sources_is_placed_when_it_comes(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each ends when the one before it is placed, and not before; none is fetched twice."""
    monkeypatch.setattr(apply, "_HOLDUP", 0.2)
    names = ["a", "b", "c", "d"]
    _offer(paths, names)
    fetched = []

    def fetch_in_turn(action: Fetch, *rest: Any) -> Fetch:  # noqa: ANN401 - passed on
        fetched.append(name := action.wanted.name)
        _wait_until(lambda: _placed(paths).keys() == set(names[: names.index(name)]))
        return fetch(action, *rest)

    monkeypatch.setattr(apply, "fetch", fetch_in_turn)
    result = converge(paths)
    assert result.in_sync
    assert sorted(fetched) == names
    done = [type(it.action).__name__ for it in result.outcomes if not it.error and not it.skipped]
    assert sorted(done) == ["Fetch"] * 4 + ["Place"] * 4
    assert not list(paths.staging.iterdir())


@pytest.mark.commands
def test_a_run_ends_without_what_nobody_wants_any_more(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "_HOLDUP", 0.2)
    _offer(paths, ["good", "slow"])
    ended = []

    def fetch_for_ever(action: Fetch, *rest: Any) -> Fetch:  # noqa: ANN401 - passed on
        if action.wanted.name == "slow":
            _wait_until(lambda: "good" in _placed(paths))
            configure(paths, "extensions: {good: {source: 'file:///good'}}")
            try:
                termination.sleep(60)
            except Terminated:
                ended.append(action.wanted.name)
                raise
        return fetch(action, *rest)

    monkeypatch.setattr(apply, "fetch", fetch_for_ever)
    assert converge(paths).in_sync
    assert _placed(paths).keys() == {"good"}
    assert ended == ["slow"]
    assert not termination.is_requested()


def _offer(paths: Paths, names: list[str]) -> None:
    """Directories with an extension each, all of them wanted."""
    for name in names:
        release = paths.root / f"{name}/usr/lib/extension-release.d/extension-release.{name}"
        release.parent.mkdir(parents=True)
        release.write_text("ID=_any\n")
    lines = ", ".join(f"{it}: {{source: 'file:///{it}'}}" for it in names)
    configure(paths, f"extensions: {{{lines}}}")


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.commands
def test_a_sole_source_is_waited_for(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apply, "_HOLDUP", 0.05)
    release = paths.root / "x/usr/lib/extension-release.d/extension-release.x"
    release.parent.mkdir(parents=True)
    release.write_text("ID=_any\n")
    configure(paths, "extensions: {x: {source: 'file:///x'}}")

    def fetch_slowly(*rest: Any) -> Fetch:  # noqa: ANN401 - passed on
        time.sleep(0.5)
        return fetch(*rest)

    monkeypatch.setattr(apply, "fetch", fetch_slowly)
    result = converge(paths)
    assert result.in_sync
    assert not any(it.late for it in result.outcomes)


def test_what_cannot_be_judged_is_not_placed_and_keeps_nothing_else_out(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(paths, BOTH)
    fill_store(paths, ONE, "one", "a")
    fill_store(paths, TWO, "two", "b")

    def fail(_: Paths, entry: Entry, *__: object) -> tuple[()]:
        return () if entry.digest[7] == "a" else (1 // 0,)[:0]

    monkeypatch.setattr(preflight, "abilities_of", fail)
    result = converge(paths)
    assert _placed(paths) == {"one": "a"}
    assert [it.code for it in result.problems] == ["unexpected"]


def test_an_offline_run_places_what_the_store_has_and_waits_for_the_rest(paths: Paths) -> None:
    configure(paths, BOTH)
    fill_store(paths, TWO, "two", "b")
    result = converge(paths, offline=True)
    assert _placed(paths) == {"two": "b"}
    assert _states(result) == {"one": State.PENDING, "two": State.IN_SYNC}


def test_pruning_removes_only_what_livelayer_placed(paths: Paths) -> None:
    configure(paths, BOTH)
    fill_store(paths, ONE, "one", "a")
    fill_store(paths, TWO, "two", "b")
    converge(paths)
    (paths.links(Kind.SYSEXT) / "byhand").mkdir()
    (paths.links(Kind.SYSEXT) / "one-more").symlink_to("/usr/share")
    configure(paths, f"extensions: {{two: {{source: '{TWO}'}}}}")
    assert converge(paths).in_sync
    assert sorted(os.listdir(paths.links(Kind.SYSEXT))) == ["byhand", "one-more", "two"]


def test_names_match_exactly(paths: Paths) -> None:
    """Removing tailscale must not remove tailscale-agent."""
    source = "docker://registry/tailscale:v1"
    configure(paths, f"extensions: {{tailscale: {{source: '{source}'}}, tailscale-agent: {{source: '{ONE}'}}}}")
    fill_store(paths, source, "tailscale", "a")
    fill_store(paths, ONE, "tailscale-agent", "b")
    converge(paths)
    configure(paths, f"extensions: {{tailscale-agent: {{source: '{ONE}'}}}}")
    assert converge(paths).in_sync
    assert _placed(paths) == {"tailscale-agent": "b"}


def test_a_broken_file_keeps_the_last_good_state_in_force(paths: Paths) -> None:
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    fill_store(paths, ONE, "one", "a")
    converge(paths)
    links.remove(paths, ExtensionId("one"))
    configure(paths, "extensions: {one: {sorce: x}}")
    result = converge(paths)
    assert _placed(paths) == {"one": "a"}
    assert not result.in_sync
    assert "unknown key" in result.problems[0].sentence
    assert json.loads(paths.status.read_text())["problems"][0]["message"] == result.problems[0].message


def test_a_missing_configuration_removes_nothing(paths: Paths) -> None:
    main = configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    fill_store(paths, ONE, "one", "a")
    converge(paths)
    main.unlink()
    result = converge(paths)
    assert result.in_sync
    assert _placed(paths) == {"one": "a"}
    assert _states(result) == {"one": State.HELD}


def test_a_boot_state_decides_what_is_placed(paths: Paths) -> None:
    configure(paths, f"extensions: {{one: {{source: '{ONE}', boot_states: [active, passive]}}}}")
    fill_store(paths, ONE, "one", "a")
    assert converge(paths).in_sync
    (paths.root / "run/cos").mkdir()
    (paths.root / "run/cos/recovery_mode").touch()
    result = converge(paths)
    assert result.in_sync
    assert (_placed(paths), paths.store.joinpath(entry("a").file_name).is_dir()) == ({}, True)
    assert result.statuses[0].reason == "it is merged in boot state active or passive, and this is recovery"
    (paths.root / "run/cos/recovery_mode").unlink()
    assert converge(paths).in_sync
    assert _placed(paths) == {"one": "a"}


def test_a_name_that_is_kairos_agents_is_told_and_left_to_it(paths: Paths) -> None:
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    fill_store(paths, ONE, "one", "a")
    for directory in ("var/lib/kairos/extensions", "run/extensions"):
        (paths.root / directory).mkdir(parents=True)
    (paths.root / "var/lib/kairos/extensions/one.raw").touch()
    (paths.root / "var/lib/kairos/extensions/idle.raw").touch()
    (paths.root / "run/extensions/one.raw").symlink_to("../../var/lib/kairos/extensions/one.raw")
    result = converge(paths)
    assert (
        result.problems[0].sentence
        == f"one: {paths.root}/run/extensions/one.raw is in the way, and it is kairos-agent's"
    )
    assert _placed(paths) == {}
    reasons = {item.name: item.reason for item in result.statuses if item.state is State.UNMANAGED}
    assert reasons == {
        "one": f"placed by kairos-agent: {paths.root}/run/extensions/one.raw",
        "idle": f"kept by kairos-agent, not enabled in this boot: {paths.root}/var/lib/kairos/extensions/idle.raw",
    }


def test_only_the_named_extensions_are_touched(paths: Paths) -> None:
    configure(paths, BOTH)
    fill_store(paths, ONE, "one", "a")
    fill_store(paths, TWO, "two", "b")
    assert converge(paths, only=frozenset({"two"})).in_sync
    assert _placed(paths) == {"two": "b"}
    with pytest.raises(Invalid, match="three: no such extension"):
        converge(paths, only=frozenset({"three"}))


def test_status_tells_why_the_last_run_failed_rather_than_only_that_something_is_to_do(paths: Paths) -> None:
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    failed = {"name": "one", "source": ONE, "state": "failed", "reason": "connection refused"}
    message = "connection refused"
    problems = [{"code": "registry.refused", "extension": "one", "message": message, "hint": "wait"}]
    document = {"extensions": [failed], "problems": problems}
    assert _states(status(paths, Options())) == {"one": State.PENDING}
    paths.runtime.mkdir(parents=True)
    paths.status.write_text(json.dumps(document))
    (told,) = status(paths, Options()).statuses
    assert (told.state, told.reason) == (State.FAILED, "connection refused")
    assert status(paths, Options()).problems == (Problem("registry.refused", "one", "connection refused", "wait"),)
    configure(paths, f"extensions: {{one: {{source: '{TWO}'}}}}")
    assert _states(status(paths, Options())) == {"one": State.PENDING}


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "3", '{"a": 1}', '{"extensions": 1, "problems": [1]}'])
def test_records_that_are_damaged_or_strange_are_made_anew(paths: Paths, text: str) -> None:
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    fill_store(paths, ONE, "one", "a")
    paths.runtime.mkdir(parents=True)
    for path in (paths.last_good, paths.status, paths.seen):
        path.write_text(text)
    assert converge(paths).in_sync
    paths.status.write_text(text)
    assert status(paths, Options()).in_sync
    paths.resolutions.write_text(text.replace('"a": 1', f'"{ONE} linux/amd64": ["sha256:x", 1]'))
    assert _states(status(paths, Options())) == {"one": State.PENDING}


def test_a_configuration_that_changes_during_a_run_is_looked_at_again(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    fill_store(paths, ONE, "one", "a")
    fill_store(paths, TWO, "two", "b")
    real = Applier.apply

    def edit_meanwhile(self: Applier, plan: Plan) -> tuple[Outcome, ...]:
        configure(paths, BOTH)
        return real(self, plan)

    monkeypatch.setattr(Applier, "apply", edit_meanwhile)
    assert converge(paths).in_sync
    assert _placed(paths) == {"one": "a", "two": "b"}


NAMES = ("one", "two", "three")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(20))
@given(
    wanted=st.dictionaries(st.sampled_from(NAMES), st.sampled_from("abc")),
    before=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["a", "b", "c", "dangling", "directory", "link"])),
)
def test_any_node_converges_in_one_run_and_keeps_what_is_unmanaged(
    paths: Paths, wanted: dict[str, str], before: dict[str, str]
) -> None:
    _reset(paths)
    for name in NAMES:
        for letter in "abc":
            fill_store(paths, f"docker://registry/{name}:{letter}", name, letter)
    for name, what in before.items():
        _put(paths, name, what)
    listed = "".join(f"  {name}: {{source: 'docker://registry/{name}:{it}'}}\n" for name, it in wanted.items())
    configure(paths, f"settings: {{allow_empty: true}}\nextensions:\n{listed}")

    converge(paths)

    after = look(paths, Options())
    assert after.view.plan.actions == ()
    foreign = {name for name, what in before.items() if what in {"directory", "link"}}
    assert _placed(paths) == {name: letter for name, letter in wanted.items() if name not in foreign}
    assert foreign <= set(os.listdir(paths.links(Kind.SYSEXT)))
    assert {item.extension for item in after.problems} == foreign & wanted.keys()


def _reset(paths: Paths) -> None:
    for path in paths.links(Kind.SYSEXT).iterdir():
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def _put(paths: Paths, name: str, what: str) -> None:
    match what:
        case "directory":
            (paths.links(Kind.SYSEXT) / name).mkdir()
        case "link":
            (paths.links(Kind.SYSEXT) / name).symlink_to("/usr/share")
        case "dangling":
            links.place(paths, ExtensionId(name), entry("d"))
        case letter:
            links.place(paths, ExtensionId(name), entry(letter))


def test_a_run_that_finds_nothing_reads_what_others_left_once(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    fill_store(paths, ONE, "one", "a")
    assert converge(paths).standing.generation == 1
    paths.retries.write_text("{}")
    reads: list[str] = []
    read_bytes = Path.read_bytes

    def _counted(path: Path) -> bytes:
        reads.append(path.name)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", _counted)
    for look_again in (converge, lambda it: status(it, Options())):
        reads.clear()
        assert look_again(paths).standing.generation == 1
        assert [reads.count(name) for name in ("1.json", "retries.json", "health.json")] == [1, 1, 1]
