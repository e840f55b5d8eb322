"""System calls that fail: with EIO as on a dying disk, or for want of space or permission to write.

The fault hits livelayer itself, in any of its threads, or one of the programs that it starts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults import crash, invariants
from tests.faults.crash import CALLS, Boundary, Reach
from tests.faults.victim import Want, Wish
from tests.luck import IS_LONG, seeded

if TYPE_CHECKING:
    from tests.faults.victim import Victim

pytestmark = [pytest.mark.system, pytest.mark.commands]

_ONE: Final = Want({"alpha": Wish("1"), "beta": Wish("1", "squashfs"), "gamma": Wish("1", "squashfs")})
_TWO: Final = Want({"alpha": Wish("2"), "beta": Wish("2", "squashfs"), "gamma": Wish("1")})
# Writes are of interest where they go to a file of the node; those to a terminal or a pipe are not.
_PLACES: Final = ("/var/lib/livelayer", "/var/lib/extensions", "/run/livelayer")
_ERRORS: Final = ("EIO", "EIO", "ENOSPC", "EROFS")
_FAULTS: Final = None if IS_LONG else 2  # in each direction; None: at every boundary
_REASON: Final = re.compile(r".+\n {2}\S", re.MULTILINE)


@pytest.mark.timeout(6 * 3600 if IS_LONG else 600)
@pytest.mark.parametrize("reach", Reach if IS_LONG else [seeded("reach").choice(list(Reach))])
def test_a_call_that_fails(victim: Victim, reach: Reach) -> None:
    """Once or from then on: a clear error, if it matters, and the next run converges."""
    luck = seeded(reach.name)
    victim.learn(_TWO)
    victim.learn(_ONE)
    left: dict[bool, list[Boundary]] = {}
    for there in (True, False):
        _set_off(victim, there=there)
        traced = crash.trace(victim.namespace, reach, victim.command, "apply", calls=(*CALLS, "write", "pwrite64"))
        counted = crash.boundaries_on(traced, *_PLACES) if reach is Reach.ITSELF else crash.boundaries(traced)
        counted = [it for it in counted if reach is Reach.ITSELF or "write" not in it.call]
        print(f"{reach.name}: {len(counted)} boundaries")  # noqa: T201 - the figures
        left[there] = luck.sample(counted, min(_FAULTS or len(counted), len(counted)))
    there, failed = True, 0
    while any(left.values()):
        _set_off(victim, there=there)
        if left[there]:
            error, lasting = luck.choice(_ERRORS), luck.random() < 0.5
            ended = crash.fail_at(
                victim.namespace, reach, left[there].pop(), error, victim.command, "apply", lasting=lasting
            )
            _examine(victim, ended, there=there)
            failed += ended.status != 0
        told = victim.apply().stderr
        assert list(victim.differences(_TWO if there else _ONE)) == [], told
        there = not there
    print(f"{failed} runs failed")  # noqa: T201 - the figures
    assert failed


def _set_off(victim: Victim, *, there: bool) -> None:
    victim.want(_TWO if there else _ONE)
    victim.forget_unused()


def _examine(victim: Victim, ended: crash.Ended, *, there: bool) -> None:
    """What was told is of interest unless it is the telling that failed."""
    could_tell = "<pipe:" not in ended.hit
    assert not (could_tell and victim.crashes(ended.told)), f"{ended.hit}\n{ended.told}"
    assert victim.faults() == [], f"{ended.hit}\n{ended.told}"
    if ended.status == 0:
        want = _TWO if there else _ONE
        assert invariants.merged(victim.root) == want.wishes.keys(), f"{ended.hit}\n{ended.told}"
        assert {name: victim.says(name) for name in want.wishes} == {
            name: wish.version for name, wish in want.wishes.items()
        }, f"{ended.hit}\n{ended.told}"
    elif could_tell:
        assert _REASON.search(ended.told), f"{ended.hit}\n{ended.told}"
