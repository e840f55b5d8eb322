"""Properties of plans on any desired and observed state, with a simulated node that does what it is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import assert_never

from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import ReconcilerError
from reconciler.model.config.desired import DesiredState, Wanted
from reconciler.model.config.part import Part
from reconciler.model.config.settings import Settings
from reconciler.model.content.format import Format, Payload
from reconciler.model.content.resolution import Resolution
from reconciler.model.content.source import parse_source
from reconciler.model.fit.contents import Contents
from reconciler.model.fit.release import Host
from reconciler.model.kind import Kind
from reconciler.model.plan.action import (
    Action,
    Activate,
    Check,
    Fetch,
    Generate,
    Mask,
    Place,
    Plan,
    Refresh,
    Remove,
    Start,
    Stop,
    Unmask,
)
from reconciler.model.plan.plan import make_plan, refresh_of_nested, with_index
from reconciler.model.plan.target import Target, target_for
from reconciler.model.state.entry import Entry
from reconciler.model.state.observed import HostModules, Link, Merged, ObservedState, Unmanaged

HOST = Host({"ID": "debian", "VERSION_ID": "13"}, "x86_64", 257, kernel="6.12.1")
KINDS = st.sampled_from(Kind)
FORMATS = st.sampled_from(Format)
NAMES = st.sampled_from(["a", "b", "ab", "a-b", "c"])
DIGESTS = st.sampled_from([f"sha256:{letter * 64}" for letter in "abc"])
SOURCE = parse_source("docker://registry/x:v1")
# What a fetch would bring, by digest: an image for everybody, for nobody, and one that fits only extension `a`.
IMAGES = {
    "a": Contents(
        {name: {"ID": "_any"} for name in ("a", "b", "ab", "a-b", "c")}, units=("x.service",), kernels=("6.12.1",)
    ),
    "b": Contents({name: {"ID": "fedora"} for name in ("a", "b", "ab", "a-b", "c")}),
    "c": Contents({"a": {"ID": "_any"}}),
}


@st.composite
def desired_states(draw: st.DrawFn) -> DesiredState:
    """Any configuration."""
    names = draw(st.sets(NAMES))
    wanted = [
        Wanted(
            name,
            (Part("docker://registry/x:v1", SOURCE),),
            merged=draw(st.booleans()),
            rename=draw(st.booleans()),
            kind=draw(KINDS),
            format=draw(FORMATS | st.none()),
            start=("x.service",) if draw(st.booleans()) else (),
        )
        for name in sorted(names)
    ]
    absent = frozenset(draw(st.sets(NAMES)) - names)
    prune, allow_empty = draw(st.booleans()), draw(st.booleans())
    settings = Settings(prune=prune, allow_empty=allow_empty, refresh=draw(st.sampled_from(("now", "boot"))))
    configured = draw(st.booleans()) or bool(names | absent)
    return DesiredState(tuple(wanted), absent, settings, configured=configured)


@st.composite
def observed_states(draw: st.DrawFn) -> ObservedState:
    """Any node, however it came about."""
    linked = {entry_kind: draw(st.dictionaries(NAMES, _entries(st.none(), entry_kind))) for entry_kind in Kind}
    stored = draw(st.sets(_entries(st.none() | NAMES, draw(KINDS))))
    store = {entry: _contents(entry) for entry in stored}
    directories = draw(st.lists(st.tuples(NAMES, st.sampled_from(["/etc", "/usr/lib"]))))
    placed = {(name, top) for name, top in directories}
    by_hand = {("/var/lib", name) for name in draw(st.sets(NAMES)) if name not in linked[Kind.SYSEXT]}
    unmanaged = [Unmanaged(name, Path(f"{top}/extensions/{name}"), top != "/usr/lib") for name, top in sorted(placed)]
    unmanaged += [Unmanaged(name, Path(f"{top}/extensions/{name}")) for top, name in sorted(by_hand)]
    links = [
        Link(name, entry, draw(st.integers(1, 9)), dangling=entry not in store, doubled=draw(st.booleans()))
        for kind in Kind
        for name, entry in linked[kind].items()
    ]
    return ObservedState(
        host=HOST,
        links={link.ident: link for link in links},
        unmanaged=tuple(unmanaged),
        store=store,
        merged=draw(st.none() | st.fixed_dictionaries({kind: _overlays() for kind in Kind})),
        refresh_owed=frozenset(draw(st.sets(KINDS))),
        modules=HostModules(""),
    )


def _entries(renamed_to: st.SearchStrategy[str | None], kind: Kind) -> st.SearchStrategy[Entry]:
    return st.builds(Entry, DIGESTS, renamed_to, FORMATS, st.just(kind))


def _overlays() -> st.SearchStrategy[Merged]:
    named = st.builds(Merged, st.frozensets(NAMES, min_size=1), st.integers(1, 9))
    return st.just(Merged()) | named


RESOLUTIONS = st.fixed_dictionaries(
    {
        name: st.builds(
            lambda digest, payload: Resolution(digest, digest, payload), DIGESTS, st.sampled_from(Payload)
        )
        for name in ("a", "b", "ab", "a-b", "c")
    }
)


def _targets(desired: DesiredState, resolutions: dict[str, Resolution]) -> dict[str, Target | ReconcilerError]:
    return {wanted.name: _target(wanted, resolutions[wanted.name]) for wanted in desired.extensions}


def _target(wanted: Wanted, resolution: Resolution) -> Target | ReconcilerError:
    try:
        return target_for(wanted, resolution)
    except ReconcilerError as error:
        return error


@given(desired_states(), observed_states(), RESOLUTIONS)
def test_after_one_run_there_is_nothing_left_to_do(
    desired: DesiredState, observed: ObservedState, resolutions: dict[str, Resolution]
) -> None:
    plan = make_plan(desired, observed, _targets(desired, resolutions))
    after = _simulate(plan, observed)
    assert make_plan(desired, after, _targets(desired, resolutions)).actions == ()


@given(desired_states(), observed_states(), RESOLUTIONS)
def test_what_is_unmanaged_is_never_removed_or_replaced(
    desired: DesiredState, observed: ObservedState, resolutions: dict[str, Resolution]
) -> None:
    in_the_way = {item.name for item in observed.unmanaged if item.path.is_relative_to("/var")}
    for action in make_plan(desired, observed, _targets(desired, resolutions)).actions:
        if isinstance(action, Place | Remove):
            assert action.ident.kind is Kind.CONFEXT or action.ident.name not in in_the_way
        if isinstance(action, Remove):
            assert observed.links[action.ident].entry == action.old


@given(desired_states(), observed_states(), RESOLUTIONS)
def test_nothing_is_placed_that_does_not_fit_or_removed_without_a_configuration(
    desired: DesiredState, observed: ObservedState, resolutions: dict[str, Resolution]
) -> None:
    plan = make_plan(desired, observed, _targets(desired, resolutions))
    fetched = {action.entry for action in plan.actions if isinstance(action, Fetch)}
    generated = {action.entry for action in plan.actions if isinstance(action, Generate)}
    for action in plan.actions:
        if isinstance(action, Place) and action.new not in fetched | generated:
            assert observed.store[action.new].misfit(action.ident, HOST) is None
        if isinstance(action, Remove):
            assert desired.configured


@given(desired_states(), observed_states(), RESOLUTIONS)
def test_there_is_at_most_one_refresh_of_a_kind_after_all_links_and_none_for_an_empty_plan(
    desired: DesiredState, observed: ObservedState, resolutions: dict[str, Resolution]
) -> None:
    actions = make_plan(desired, observed, _targets(desired, resolutions)).actions
    refreshed = [action.kind for action in actions if isinstance(action, Refresh)]
    assert len(refreshed) == len(set(refreshed))
    types = [type(action) for action in actions]
    if Refresh in types:
        assert not {Fetch, Stop, Place, Remove} & set(types[types.index(Refresh) :])


def _contents(entry: Entry) -> Contents:
    found = IMAGES[entry.digest.removeprefix("sha256:")[0]]
    if entry.renamed_to and len(found.releases) == 1:
        (fields,) = found.releases.values()
        return replace(found, releases={**found.releases, entry.renamed_to: fields})
    return found


def _simulate(plan: Plan, observed: ObservedState) -> ObservedState:
    """A node on which every action works, except placing what turns out not to fit."""
    for action in plan.actions:
        observed = _act(action, observed) if isinstance(action, Fetch) else observed
    placed = [it for it in plan.actions if isinstance(it, Place) and it.ident.kind is Kind.SYSEXT]  # as indexes are
    misfits = [it.ident.name for it in placed if _is_misfit(it, observed)]
    for action in with_index(plan, observed, misfits).actions:
        observed = observed if isinstance(action, Fetch) else _act(action, observed)
    return observed


def _is_misfit(action: Place, observed: ObservedState) -> bool:
    contents = observed.store.get(action.new)  # what is generated comes later
    return contents is not None and contents.misfit(action.ident, HOST) is not None


def _act(action: Action, observed: ObservedState) -> ObservedState:
    match action:
        case Fetch():
            links = {
                ident: replace(link, dangling=link.dangling and link.entry != action.entry)
                for ident, link in observed.links.items()
            }
            return replace(observed, store={**observed.store, action.entry: _contents(action.entry)}, links=links)
        case Generate():
            contents = Contents({action.ident.name: {"ID": "_any"}})
            return replace(observed, store={**observed.store, action.entry: contents})
        case Place():
            placed = {action.ident: Link(action.ident.name, action.new, 10)}
            return replace(observed, links={**observed.links, **({} if _is_misfit(action, observed) else placed)})
        case Remove():
            rest = {ident: link for ident, link in observed.links.items() if ident != action.ident}
            return replace(observed, links=rest)
        case Refresh(kind):
            names = frozenset(link.name for link in observed.mergeable_links(kind))
            names |= {item.name for item in observed.unmanaged if item.kind is kind}
            merged = {**(observed.merged or {}), kind: Merged(names, 11 if names else None)}
            after = replace(observed, merged=merged, refresh_owed=observed.refresh_owed - {kind})
            nested = refresh_of_nested(after) if kind is Kind.SYSEXT else None  # as `Applier` does
            return _act(nested, after) if nested else after
        case Activate() | Start() | Stop() | Check() | Mask() | Unmask():
            return observed
        case _:
            assert_never(action)
