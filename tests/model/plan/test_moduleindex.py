"""When indexes of kernel modules are made, of what, and when they go."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.model.config.desired import DesiredState, Wanted, desired_state
from reconciler.model.config.merge import Fragment
from reconciler.model.content.resolution import Resolution
from reconciler.model.fit.contents import Contents
from reconciler.model.fit.release import Host
from reconciler.model.kind import MODULE_INDEX, ExtensionId, Kind, is_name
from reconciler.model.plan.action import Fetch, Generate, Place, Plan, Refresh, Remove
from reconciler.model.plan.layerorder import bottom_up
from reconciler.model.plan.moduleindex import due_index
from reconciler.model.plan.plan import make_plan, narrow, with_index
from reconciler.model.plan.status import State, View, extension_statuses
from reconciler.model.plan.target import Target, target_for
from reconciler.model.state.entry import Entry
from reconciler.model.state.observed import HostModules, Link, ObservedState, OtherModules, Unmanaged

if TYPE_CHECKING:
    from collections.abc import Sequence

KERNEL = "6.12.1-amd64"
HOST = Host({"ID": "debian", "VERSION_ID": "13"}, "x86_64", 257, kernel=KERNEL)
MODULES = HostModules("as it was")


def _entry(letter: str) -> Entry:
    return Entry(f"sha256:{letter * 64}")


def _contents(name: str, *kernels: str) -> Contents:
    return Contents({name: {"ID": "_any"}}, kernels=kernels)


def _link(name: str, entry: Entry) -> Link:
    return Link(name, entry, 1)


def _observed(*links: Link, store: dict[Entry, Contents], modules: HostModules | None = MODULES) -> ObservedState:
    return ObservedState(HOST, {it.ident: it for it in links}, store=store, modules=modules, merged=None)


A, B, C = (_entry(letter) for letter in "abc")
STORE = {A: _contents("a", KERNEL), B: _contents("b", "5.10.0", KERNEL), C: _contents("c")}
PLACE_A = Place(ExtensionId("a"), None, A, "new")
PLACE_B = Place(ExtensionId("b"), None, B, "new")


def _index(observed: ObservedState, steps: Sequence[Place] = ()) -> Entry:
    (placed,) = [it for it in due_index(observed, steps).steps if isinstance(it, Place)]
    return placed.new


def test_the_index_lies_above_every_extension_that_can_be_configured() -> None:
    names = ["zoo", "Zoo", "9", "2026-11-30", "20261130181600", "999999999999999", "9" * 15 + "zoo", "0" * 20 + "zoo"]
    assert all(map(is_name, names))
    assert bottom_up([MODULE_INDEX.name, *names])[-1] == MODULE_INDEX.name
    for name in (MODULE_INDEX.name, "9" * 16, "9" * 64, "0001000000000000000x"):
        assert not is_name(name)
        with pytest.raises(Exception, match="16 digits"):
            desired_state(Fragment({"extensions": {name: {"source": "docker://registry/a:v1"}}}))


def test_an_index_is_made_of_what_has_modules_for_this_kernel() -> None:
    observed = _observed(_link("a", A), _link("c", C), store=STORE)
    (made, placed) = due_index(observed, [PLACE_B]).steps
    assert isinstance(made, Generate)
    assert isinstance(placed, Place)
    assert [layer.name for layer in made.layers] == ["a", "b"]
    assert (made.ident, made.entry, made.kernel) == (MODULE_INDEX, placed.new, KERNEL)
    assert "a, b" in made.reason


def test_an_index_that_is_placed_stays_as_long_as_nothing_of_it_changes() -> None:
    observed = _observed(_link("a", A), store=STORE)
    index = _index(observed)
    placed = _observed(
        _link("a", A), _link(MODULE_INDEX.name, index), store={**STORE, index: _contents(MODULE_INDEX.name)}
    )
    assert due_index(placed, []).steps == ()
    others = (OtherModules("x", Path("/etc/extensions/x"), "1"),)
    for changed in (
        replace(placed, host=replace(HOST, kernel="5.10.0"), links={**placed.links, ExtensionId("b"): _link("b", B)}),
        replace(placed, modules=HostModules("otherwise")),
        replace(placed, modules=HostModules("as it was", others)),
        replace(placed, links={**placed.links, ExtensionId("b"): _link("b", B)}),
    ):
        made, moved = due_index(changed, []).steps
        assert isinstance(made, Generate)
        assert isinstance(moved, Place)
        assert moved.old == index
        assert moved.new == made.entry != index


def test_modules_of_others_are_part_of_it_in_the_order_of_layers() -> None:
    others = (
        OtherModules("Z", Path("/etc/extensions/Z"), "1"),
        OtherModules("z", Path("/etc/extensions/z.raw"), "1"),
    )
    observed = _observed(_link("a", A), store=STORE, modules=HostModules("", others))
    made = due_index(observed, []).steps[0]
    assert isinstance(made, Generate)
    assert [layer.name for layer in made.layers] == ["Z", "a", "z"]
    later = replace(others[1], state="2")
    assert made.entry != _index(replace(observed, modules=HostModules("", (others[0], later))))


def test_an_index_goes_with_the_last_extension_that_has_modules() -> None:
    index = _link(MODULE_INDEX.name, _entry("d"))
    for observed in (
        _observed(_link("c", C), index, store=STORE, modules=None),
        _observed(_link("c", C), index, store=STORE),
    ):
        (gone,) = due_index(observed, []).steps
        assert gone == Remove(MODULE_INDEX, index.entry, "no extension has modules for the kernel that runs")
    observed = _observed(_link("a", A), index, store=STORE)
    (gone,) = due_index(observed, [Remove(ExtensionId("a"), A, "absent")]).steps
    assert isinstance(gone, Remove)
    assert due_index(_observed(_link("c", C), store=STORE, modules=None), []).steps == ()


def test_what_is_yet_to_be_fetched_is_waited_for() -> None:
    new = _entry("e")
    observed = _observed(_link("a", A), store=STORE)
    update = Place(ExtensionId("a"), A, new, "the source leads to another digest")
    assert due_index(observed, [update]).steps == ()
    refresh = Refresh(Kind.SYSEXT, "links change", only_after_changes=True)
    plan = Plan((Fetch(_wanted("a"), Resolution(new.digest, new.digest), new, "new"), update, refresh))
    fetched = replace(observed, store={**STORE, new: _contents("a", KERNEL)})
    whole = with_index(plan, fetched, ())
    assert [type(it) for it in whole.actions] == [Fetch, Generate, Place, Place, Refresh]
    failed = with_index(plan, observed, {"a"})
    made = next(it for it in failed.actions if isinstance(it, Generate))
    assert [layer.content for layer in made.layers] == [A]
    # Once more, nothing is there twice.
    assert with_index(whole, fetched, ()) == whole


def test_what_changed_by_hand_is_made_anew() -> None:
    index = _index(_observed(_link("a", A), store=STORE))
    observed = _observed(
        _link("a", A), _link(MODULE_INDEX.name, index), store={**STORE, index: _contents(MODULE_INDEX.name)}
    )
    made, placed = due_index(replace(observed, changed={index: "modules.dep differs"}), []).steps
    assert isinstance(made, Generate)
    assert made.changed
    assert isinstance(placed, Place)


def test_what_keeps_an_index_from_being_made_is_said_and_a_false_one_goes() -> None:
    observed = _observed(_link("a", A), store=STORE)
    long = {ExtensionId(f"{number:0>60}"): C for number in range(45)}
    crowded = {it: _link(it.name, entry) for it, entry in long.items()}
    releases = Contents({it.name: {"ID": "_any"} for it in long})
    obstacle = Unmanaged(MODULE_INDEX.name, Path("/etc/extensions/x"))
    for unable, words in (
        (replace(observed, modules=replace(MODULES, has_depmod=False)), "depmod is not installed"),
        (replace(observed, unmanaged=(obstacle,)), "/etc/extensions/x is in the way"),
        (replace(observed, links={**observed.links, **crowded}, store={**STORE, C: releases}), "no further"),
    ):
        due = due_index(unable, [])
        assert due.steps == ()
        (warning,) = due.warnings
        assert warning.code == "modules.not-indexed"
        assert words in warning.message
        assert warning.hint
        stale = _link(MODULE_INDEX.name, _entry("d"))
        (gone,) = due_index(replace(unable, links={**unable.links, stale.ident: stale}), []).steps
        assert isinstance(gone, Remove)


def test_what_is_not_known_changes_nothing() -> None:
    """Of a host whose modules this process may not see, and of a system that does not run."""
    observed = _observed(_link("a", A), _link(MODULE_INDEX.name, _entry("d")), store=STORE)
    assert due_index(replace(observed, modules=HostModules(None)), []).steps == ()
    elsewhere = due_index(replace(observed, host=replace(HOST, kernel=""), modules=None), [])
    assert elsewhere.steps == ()
    (warning,) = elsewhere.warnings
    assert "of a" in warning.message
    assert "livelayer-boot.service" in (warning.hint or "")


def test_a_plan_has_the_index_between_what_is_fetched_and_the_refresh() -> None:
    observed = replace(_observed(store=STORE), merged={})
    plan = make_plan(_desired("a"), observed, {"a": _target("a", A)})
    assert [type(it) for it in plan.actions] == [Generate, Place, Place, Refresh]
    assert {it.ident.name for it in plan.actions if isinstance(it, Place)} == {"a", MODULE_INDEX.name}
    assert [type(it) for it in narrow(plan, frozenset({"a"})).actions] == [Place, Refresh]


def test_nobody_prunes_an_index_and_status_says_what_it_is() -> None:
    link = _link(MODULE_INDEX.name, _index(_observed(_link("a", A), store=STORE)))
    store = {**STORE, link.entry: _contents(MODULE_INDEX.name)}
    observed = _observed(_link("a", A), link, store=store)
    targets = {"a": _target("a", A)}
    plan = make_plan(_desired("a"), observed, targets)
    assert plan.in_sync
    ours, _ = extension_statuses(View(_desired("a"), observed, targets, plan), (), {})
    assert (ours.name, ours.state) == (MODULE_INDEX.name, State.IN_SYNC)
    assert "generated" in (ours.reason or "")
    # A limit on what is pruned counts what is configured only, and with the last one the index goes as well.
    nothing = make_plan(desired_state(Fragment({"settings": {"allow_empty": True}})), observed, {})
    assert [(type(it), it.ident.name) for it in nothing.actions if isinstance(it, Remove)] == [
        (Remove, "a"),
        (Remove, MODULE_INDEX.name),
    ]
    left = make_plan(DesiredState(), replace(observed, links={link.ident: link}), {})
    assert not left.problems


def _target(name: str, entry: Entry) -> Target:
    return target_for(_wanted(name), Resolution(entry.digest, entry.digest))


def _wanted(name: str) -> Wanted:
    return _desired(name).extensions[0]


def _desired(*names: str) -> DesiredState:
    tree = {"extensions": {name: {"source": f"docker://registry/{name}:v1"} for name in names}}
    return desired_state(Fragment(tree))
