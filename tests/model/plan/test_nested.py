"""Configuration extensions that came or went with a system extension."""

from __future__ import annotations

from pathlib import Path

from reconciler.model.fit.release import Host
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.plan.nested import nested_change, strays
from reconciler.model.plan.plan import refresh_of_nested
from reconciler.model.state.observed import Merged, ObservedState, Unmanaged

INNER = ExtensionId("inner", Kind.CONFEXT)
LYING = Unmanaged("inner", Path("/usr/lib/confexts/inner"), kind=Kind.CONFEXT, outranks=False)


def _observed(confexts: Merged, sysexts: Merged, *others: Unmanaged, carried: bool = False) -> ObservedState:
    return ObservedState(
        Host({}, "x86_64", 257),
        merged={Kind.CONFEXT: confexts, Kind.SYSEXT: sysexts},
        unmanaged=others,
        carried=frozenset({INNER} if carried else ()),
    )


def _merged(since: int, *names: str) -> Merged:
    return Merged(frozenset(names), since)


def test_one_that_came_is_merged() -> None:
    observed = _observed(Merged(), _merged(2, "outer"), LYING, carried=True)
    assert nested_change(observed) == "inner came with a system extension"
    refresh = refresh_of_nested(observed)
    assert refresh
    assert (refresh.kind, refresh.carried, refresh.gone) == (Kind.CONFEXT, frozenset({"inner"}), frozenset())
    assert nested_change(_observed(_merged(3, "inner"), _merged(2, "outer"), LYING, carried=True)) is None


def test_the_hosts_own_and_what_does_not_fit_are_left_to_others() -> None:
    assert nested_change(_observed(Merged(), _merged(2, "outer"), LYING)) is None


def test_one_that_went_is_taken_off() -> None:
    for sysexts in (Merged(), _merged(4, "other")):
        assert nested_change(_observed(_merged(3, "inner"), sysexts)) == "inner went with a system extension"


def test_what_lies_nowhere_for_another_reason_is_only_told() -> None:
    """Somebody removed it by hand after the system extensions were merged."""
    observed = _observed(_merged(3, "inner"), _merged(2, "outer", "byhand"))
    assert nested_change(observed) is None
    assert strays(Kind.CONFEXT, observed) == {"inner"}
    assert strays(Kind.SYSEXT, observed) == {"outer", "byhand"}


def test_names_without_the_endings_that_systemd_takes_off() -> None:
    lying = Unmanaged("inner.confext", Path("/run/confexts/inner.confext.raw"), kind=Kind.CONFEXT)
    assert strays(Kind.CONFEXT, _observed(_merged(3, "inner"), Merged(), lying)) == set()
