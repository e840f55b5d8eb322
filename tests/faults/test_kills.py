"""A run that is killed: at every step of it and at random instants, in all that a run may have to do.

Each kill is looked at from outside at once; then the node may boot, and the next run must converge.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults import crash, invariants
from tests.faults.crash import Boundary, Reach
from tests.faults.victim import Want, Wish
from tests.luck import IS_LONG, seeded

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.faults.victim import Victim

pytestmark = [pytest.mark.system, pytest.mark.commands]

_FIRST: Final = Want({"alpha": Wish("1"), "beta": Wish("1", "squashfs"), "gamma": Wish("1")})
_ALL_AT_ONCE: Final = {
    # Update and new format of one, new format of another, removal of the third, and the way back.
    "all at once": (_FIRST, Want({"alpha": Wish("2", "squashfs"), "beta": Wish("1")})),
}
_EACH: Final = {
    "install and remove": (Want({"beta": Wish("1", "squashfs")}), _FIRST),
    "update": (_FIRST, Want({"alpha": Wish("2"), "beta": Wish("2", "squashfs"), "gamma": Wish("2")})),
    "change of format": (_FIRST, Want({"alpha": Wish("1", "squashfs"), "beta": Wish("1"), "gamma": Wish("1")})),
}
_WAYS: Final = _EACH if IS_LONG else _ALL_AT_ONCE
_STEPS: Final = None if IS_LONG else 2  # kills at boundaries, in each direction; None: at every one
_INSTANTS: Final = 50 if IS_LONG else 2  # kills at random


@dataclass(slots=True)
class _Rounds:
    """A node on its way to and fro between two configurations, killed again and again."""

    victim: Victim
    before: Want
    after: Want
    luck: random.Random
    kills: int = 0
    seconds: float = 1.0  # that a run takes

    def turn(self) -> None:
        """Set off into the other direction, with everything to be fetched anew."""
        self.before, self.after = self.after, self.before
        self.victim.want(self.after)
        self.victim.forget_unused()

    def suffer(self, kill: Callable[[], crash.Ended]) -> None:
        """Be killed, and look what is left."""
        ended = kill()
        assert ended.killed or not self.victim.crashes(ended.told), ended
        self.kills += ended.killed
        assert self.victim.faults() == [], ended
        self._keeps_what_was_good(ended)
        if self.luck.random() < 0.3:
            self.victim.reboot()
            assert self.victim.faults() == [], ended
            assert self._in_both() <= invariants.merged(self.victim.root), ended

    def recover(self) -> None:
        """One run without a fault is enough."""
        told = self.victim.apply().stderr
        assert list(self.victim.differences(self.after)) == [], told

    def _keeps_what_was_good(self, ended: crash.Ended) -> None:
        """Where a refresh is owed, systemd-sysext may have been killed while it had nothing merged."""
        links = {path.name.removesuffix(".raw") for path in (self.victim.root / "var/lib/extensions").iterdir()}
        assert self._in_both() <= links, ended
        if not (self.victim.root / "run/livelayer/state/refresh-owed-sysext").exists():
            assert self._in_both() <= invariants.merged(self.victim.root), ended

    def _in_both(self) -> set[str]:
        return set(self.before.wishes) & set(self.after.wishes)


@pytest.fixture(params=_WAYS)
def rounds(request: pytest.FixtureRequest, victim: Victim) -> _Rounds:
    """On one side, whose store is known."""
    one, other = _WAYS[request.param]
    victim.learn(other)
    victim.learn(one)
    return _Rounds(victim, other, one, seeded(request.param))


@pytest.mark.timeout(6 * 3600 if IS_LONG else 600)
def test_killed(rounds: _Rounds) -> None:
    """At each step by itself, and with all that it has started, or one of these programs alone; and at any time."""
    reaches = list(Reach) if IS_LONG else [rounds.luck.choice(list(Reach))]
    for reach in reaches:
        _at_steps(rounds, reach)
    _at_any_time(rounds)
    print(f"{rounds.kills} kills")  # noqa: T201 - the figures
    assert rounds.kills


def _at_steps(rounds: _Rounds, reach: Reach) -> None:
    left = _boundaries(rounds, reach)
    there = True
    while any(left.values()):
        rounds.turn()
        if left[there]:
            rounds.suffer(partial(_at_step, rounds, reach, left[there].pop()))
        rounds.recover()
        there = not there


def _at_step(rounds: _Rounds, reach: Reach, step: Boundary) -> crash.Ended:
    whole = reach is Reach.ITSELF or rounds.luck.random() < 0.5
    return crash.kill_at(rounds.victim.namespace, reach, step, rounds.victim.command, "apply", all_of_it=whole)


def _boundaries(rounds: _Rounds, reach: Reach) -> dict[bool, list[Boundary]]:
    """Those of both directions, all or some, in an order of their own."""
    found = {}
    for there in (True, False):
        rounds.turn()
        begun = time.monotonic()
        traced = crash.trace(rounds.victim.namespace, reach, rounds.victim.command, "apply")
        rounds.seconds = time.monotonic() - begun
        assert list(rounds.victim.differences(rounds.after)) == [], traced.told
        counted = crash.boundaries(traced)
        print(f"{reach.name}, {'there' if there else 'back'}: {len(counted)} boundaries")  # noqa: T201 - the figures
        found[there] = rounds.luck.sample(counted, min(_STEPS or len(counted), len(counted)))
    return found


def _at_any_time(rounds: _Rounds) -> None:
    """Also several times in a row, before a run gets to its end."""
    most = rounds.kills + _INSTANTS
    while rounds.kills < most:
        rounds.turn()
        rounds.suffer(partial(_at_random, rounds))
        while rounds.luck.random() < 0.5:
            rounds.suffer(partial(_at_random, rounds))
        rounds.recover()


def _at_random(rounds: _Rounds) -> crash.Ended:
    seconds = rounds.luck.uniform(0.15, rounds.seconds)
    return crash.kill_after(rounds.victim.namespace, seconds, rounds.victim.command, "apply")
