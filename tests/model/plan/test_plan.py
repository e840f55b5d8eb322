"""Plan cases as data (tests/cases/plan): desired + observed -> actions. A new rule is a new file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, assert_never

import pytest
import yaml

from reconciler.errors import ReconcilerError, Unavailable
from reconciler.model.config.desired import DesiredState, desired_state
from reconciler.model.config.merge import Fragment
from reconciler.model.content.format import Format
from reconciler.model.content.resolution import Resolution
from reconciler.model.fit.contents import Contents
from reconciler.model.fit.release import Host
from reconciler.model.images.imageformat import FileSystem, naked
from reconciler.model.images.imagepolicy import parse_image_policy
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.plan.action import (
    Action,
    Activate,
    Check,
    Fetch,
    Generate,
    Mask,
    Place,
    Refresh,
    Remove,
    Start,
    Stop,
    Unmask,
)
from reconciler.model.plan.plan import make_plan, narrow
from reconciler.model.plan.target import Target, target_for
from reconciler.model.state.activation import Activated, Activation
from reconciler.model.state.checks import CheckedChange, CheckRecord
from reconciler.model.state.entry import Entry, parse_entry
from reconciler.model.state.failedrefresh import FailedRefresh
from reconciler.model.state.observed import Blocker, Link, Masked, Merged, ObservedState, Unmanaged
from reconciler.model.state.retry import Retry
from reconciler.model.state.units import Unit

CASES = sorted((Path(__file__).parents[2] / "cases/plan").glob("*.yaml"))
HOST = Host({"ID": "debian", "VERSION_ID": "12"}, "x86_64", 252)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_plan(path: Path) -> None:
    case = yaml.safe_load(path.read_text())

    plan = make_plan(_desired(case), _observed(case["observed"]), _targets(case))

    assert [_line(action) for action in plan.actions] == case["plan"]
    expected = case.get("problems", [])
    assert len(plan.problems) == len(expected)
    for problem, words in zip(plan.problems, expected, strict=True):
        assert words in problem.sentence
    assert plan.in_sync == (not case["plan"] and not expected)


def test_a_plan_narrowed_to_names_keeps_the_refresh_only_for_their_changes() -> None:
    case = yaml.safe_load(CASES[0].with_name("everything-is-fetched-first.yaml").read_text())
    plan = make_plan(_desired(case), _observed(case["observed"]), _targets(case))

    assert [_line(action) for action in narrow(plan, frozenset({"b"})).actions] == [
        "fetch b b",
        "place b b",
        "refresh",
    ]
    assert narrow(plan, frozenset({"other"})).in_sync


def test_a_placed_image_that_the_policy_refuses_by_now_does_not_block_the_others() -> None:
    """Placed at installation, or under an older policy: systemd would merge nothing at all."""
    ident, entry = ExtensionId("a"), Entry(_digest("a"), None, Format.SQUASHFS)
    contents = Contents({"a": {"ID": "_any"}}, image=naked(FileSystem.SQUASHFS))
    policies = {Kind.SYSEXT: parse_image_policy("root=verity+absent:usr=verity+absent")}
    observed = ObservedState(
        replace(HOST, image_policies=policies), {ident: Link("a", entry, 1)}, store={entry: contents}, merged=None
    )
    tree = {"extensions": {"a": {"source": "docker://registry/a:v1", "format": "squashfs"}}}
    desired = desired_state(Fragment(tree))
    target = target_for(desired.extensions[0], Resolution(_digest("a"), _digest("a")))
    for targets in ({"a": target}, {"a": Unavailable("a: offline")}):
        plan = make_plan(desired, observed, targets)
        assert [_line(action) for action in plan.actions] == ["remove a a.squashfs"]
        assert "image policy" in plan.actions[0].reason
        assert len(plan.problems) == 1
    kept = make_plan(desired, replace(observed, host=HOST), {"a": target})
    assert kept.in_sync


def test_a_tag_that_leads_elsewhere_than_the_pin_is_told_and_changes_nothing() -> None:
    desired = desired_state(Fragment({"extensions": {"a": {"source": f"docker://registry/a:v1@{_digest('a')}"}}}))
    found = Resolution(_digest("a"), _digest("a"), at_tag=_digest("b"))
    plan = make_plan(desired, ObservedState(HOST, merged=None), {"a": target_for(desired.extensions[0], found)})
    (warning,) = plan.warnings
    assert (warning.code, warning.extension) == ("source.tag-elsewhere", "a")
    assert f"leads to {_digest('b')}, and not to the pinned {_digest('a')}" in warning.message
    assert plan.problems == ()


def test_nobody_is_promised_that_a_strict_node_takes_an_image_file_that_is_not_there_yet() -> None:
    tree = {"extensions": {"a": {"source": "docker://registry/a:v1", "format": "raw"}}}
    desired = desired_state(Fragment(tree))
    target = target_for(desired.extensions[0], Resolution(_digest("a"), _digest("a")))
    for policy, is_doubtful in {"root=signed+absent:usr=signed+absent": True, "*": False}.items():
        host = replace(HOST, image_policies={Kind.SYSEXT: parse_image_policy(policy)})
        fetch, place, *_ = make_plan(desired, ObservedState(host, merged=None), {"a": target}).actions
        assert isinstance(fetch, Fetch)
        assert isinstance(place, Place)
        assert ("if the node's image policy takes it" in place.reason) is is_doubtful


def test_an_image_file_is_not_fetched_where_none_can_be_attached() -> None:
    desired = desired_state(Fragment({"extensions": {"a": {"source": "docker://registry/a:v1", "format": "raw"}}}))
    target = target_for(desired.extensions[0], Resolution(_digest("a"), _digest("a")))
    plan = make_plan(desired, ObservedState(replace(HOST, has_loop_devices=False), merged=None), {"a": target})
    assert plan.actions == ()
    assert [it.code for it in plan.problems] == ["host.no-loop-devices"]


def test_entries_have_the_names_the_store_gives_them() -> None:
    for entry in (
        Entry(_digest("a")),
        Entry(_digest("b"), "ipfs"),
        Entry(_digest("c"), "a+b.c-d_e"),
        Entry(_digest("d"), None, Format.SQUASHFS),
        Entry(_digest("e"), "x.raw.confext", Format.RAW, Kind.CONFEXT),
    ):
        assert parse_entry(entry.file_name) == entry
    for name in (
        "x.directory",
        "a" * 64,
        f"{'a' * 64}.ext4",
        f"{'a' * 64}~sysext.raw",
        f"{'A' * 64}.directory",
        ".directory",
    ):
        assert parse_entry(name) is None


def _digest(letter: str) -> str:
    return f"sha256:{letter * 64}"


def _desired(case: dict[str, Any]) -> DesiredState:
    if "desired" not in case:
        return DesiredState(configured=False)
    gone, unknown = (tuple(case.get(key, ())) for key in ("vanished", "unknown"))
    return replace(desired_state(Fragment(case["desired"])), vanished=gone, unknown=unknown)


def _targets(case: dict[str, Any]) -> dict[str, Target | ReconcilerError]:
    wanted = {item.name: item for item in _desired(case).extensions}
    found = {name: Resolution(_digest(it), _digest(it)) for name, it in case.get("resolutions", {}).items()}
    known = {name: target_for(wanted[name], it) for name, it in found.items()}
    return known | {name: Unavailable(words) for name, words in case.get("unresolved", {}).items()}


def _observed(given: dict[str, Any]) -> ObservedState:
    store = {_entry(text): _contents(it) for text, it in given.get("store", {}).items()}
    placed = [(name, _entry(text)) for name, text in given.get("links", {}).items()]
    placed += [(name, _entry(text)) for name, text in given.get("confext_links", {}).items()]
    changed = given.get("changed", {})
    doubled = given.get("doubled", [])
    gone = {name for name, it in placed if it not in store} - set(given.get("unreadable", ()))
    links = [Link(name, it, changed.get(name, 1), name in gone, name in doubled) for name, it in placed]
    return ObservedState(
        host=replace(
            HOST,
            systemd=given.get("systemd", HOST.systemd),
            boot_state=given.get("boot_state", HOST.boot_state),
            kernel=given.get("kernel", ""),
            switched_off=frozenset({Kind.SYSEXT} if given.get("switched_off") else ()),
        ),
        links={link.ident: link for link in links},
        unmanaged=tuple(Unmanaged(name, Path(path)) for name, path in given.get("unmanaged", {}).items()),
        store=store,
        merged=None if given.get("no_overlay") else {kind: _merged(kind, given) for kind in Kind},
        refresh_owed=frozenset({Kind.SYSEXT} if given.get("owed") else ()),
        checks=CheckRecord(_changes(given.get("pending", {}), ""), _changes(given.get("degraded", {}), "it broke")),
        own=frozenset(map(ExtensionId, given.get("own", ()))),
        changed={_entry(text): what for text, what in given.get("content_changed", {}).items()},
        blockers=tuple(_blocker(path, mask) for path, mask in given.get("blockers", {}).items()),
        masks=tuple(_masked(path, file) for path, file in given.get("masks", {}).items()),
        deferred={Kind.SYSEXT: _failed_refresh(given["deferred"])} if "deferred" in given else {},
        activation=_activation(given["activation"]) if "activation" in given else None,
        looked_at=100.0,
        units={name: _unit(name, it) for name, it in given.get("units", {}).items()},
    )


def _failed_refresh(words: str) -> FailedRefresh:
    return FailedRefresh("", (), Retry(1, 1000, "overlay.mismatch", words))


def _activation(given: dict[str, dict[str, Any]]) -> Activation:
    """By name: the entry that was activated, and what became of it."""
    return Activation({ExtensionId(name): _activated(**it) for name, it in given.items()})


def _activated(
    entry: str, units: tuple[str, ...] = (), failed: dict[str, float] | None = None, *, started: bool = True
) -> Activated:
    """What failed has the time at which it is tried again."""
    retries = {what: Retry(1, at, "unit.start-failed", f"{what} failed") for what, at in (failed or {}).items()}
    return Activated(_entry(entry), 100, tuple(units), started, retries)


def _unit(name: str, state: str) -> Unit:
    """`active@50` has run since before the content was merged, at 100."""
    active, _, started = state.partition("@")
    return Unit(name, "loaded", active, started=int(started or 200))


def _changes(given: dict[str, tuple[str | None, str | None]], reason: str) -> dict[ExtensionId, CheckedChange]:
    return {
        ExtensionId(name): CheckedChange(_entry_or_none(entry), _entry_or_none(previous), reason)
        for name, (entry, previous) in given.items()
    }


def _entry_or_none(text: str | None) -> Entry | None:
    return _entry(text) if text else None


def _blocker(path: str, mask: str | None) -> Blocker:
    """What others placed is as bad as it gets; agents keep theirs in /run."""
    outranks = not path.startswith("/usr")
    item = Unmanaged(Path(path).stem, Path(path), outranks, _kind_at(path), agent="/agent" in path)
    return Blocker(item, "empty", Path(mask) if mask else None)


def _masked(path: str, file: str) -> Masked:
    return Masked(ExtensionId(Path(path).name, _kind_at(path)), Path(path), Path(file), "empty")


def _kind_at(path: str) -> Kind:
    return Kind.CONFEXT if "/confexts/" in path else Kind.SYSEXT


def _merged(kind: Kind, given: dict[str, Any]) -> Merged:
    names = frozenset(given.get("merged" if kind is Kind.SYSEXT else "merged_confexts", []))
    return Merged(names, given.get("since", 2) if names else None)


def _entry(text: str) -> Entry:
    """`a`, `a.squashfs`, `a~confext`, `a~confext.erofs`."""
    identity, _, kind_of_file = text.partition(".")
    letter, _, kind = identity.partition("~")
    return Entry(_digest(letter), None, Format(kind_of_file or "directory"), Kind(kind or "sysext"))


def _contents(given: dict[str, Any]) -> Contents:
    return Contents(
        releases={given["release"]: given.get("fields", {"ID": "_any"})},
        misplaced=tuple(given.get("misplaced", ())),
        has_os_release=given.get("os_release", False),
        units=tuple(given.get("units", ())),
    )


def _line(action: Action) -> str:
    match action:
        case Fetch():
            line = f"fetch {action.wanted.name} {_short(action.entry)}"
        case Generate():
            line = f"generate {action.ident} {_short(action.entry)}"
        case Place():
            change = f"{_short(action.old)} -> " if action.old else ""
            line = f"place {action.ident} {change}{_short(action.new)}"
        case Remove():
            line = f"remove {action.ident} {_short(action.old)}"
        case Refresh():
            line = "refresh" if action.kind is Kind.SYSEXT else f"refresh {action.kind}"
        case Start() | Stop():
            line = f"{type(action).__name__.lower()} {action.ident} {' '.join(action.units)}"
        case Mask() | Unmask():
            line = f"{type(action).__name__.lower()} {action.masked.path}"
        case Activate():
            line = "activate"
        case Check():
            line = f"check {action.ident or 'all'}"
        case _:
            assert_never(action)
    return line


def _short(entry: Entry) -> str:
    letter = entry.digest.removeprefix("sha256:")[0]
    name = f"+{entry.renamed_to}" if entry.renamed_to else ""
    kind = "~confext" if entry.kind is Kind.CONFEXT else ""
    return f"{letter}{kind}{name}" + (f".{entry.format}" if entry.format.is_file else "")
