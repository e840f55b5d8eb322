"""The power is cut while livelayer works; what the disk holds then is looked at from outside, again and again.

A guest runs livelayer in a loop, with the real systemd-sysext and skopeo, always with new versions; qemu is killed at
a random instant. The disk is mounted here and examined; then it is either repaired by a run here, or by the guest
when it is woken again, and so on with the same disk. Besides, a log of all its writes gives disks as they would be
had the power been cut at other instants, and had the disk lost its cache: see `tests/rig/writelog.py`.

LIVELAYER_LONG makes it a hundred cuts in all. With the same LIVELAYER_SEED the choices are the same, but not the
instants, as far as they depend on the speed of the machine.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.trial import Disk, Trial
from tests.luck import IS_LONG, seeded
from tests.rig.powercut import Machine

if TYPE_CHECKING:
    from collections.abc import Iterator

_CUTS: Final = dict.fromkeys(("ext4", "xfs", "btrfs"), 30) if IS_LONG else {"ext4": 1}
_CUTS_OF_TWO: Final = 10
_LOSSES: Final = 3 if IS_LONG else 1  # disks with lost writes, for each cut
_DISK: Final = 1 << 30  # bytes

# The machine boots once for all; the first test also makes its root, if there is none.
pytestmark = [
    pytest.mark.system,
    pytest.mark.commands,
    pytest.mark.timeout(7200 if IS_LONG else 2400),
    pytest.mark.xdist_group("powercut"),
]


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory(prefix="livelayer-power-", dir="/var/tmp") as scratch:
        programs = (here / "content.py", here / "powerloop.py")
        with Machine(Path(scratch), programs, _DISK) as machine:
            yield machine


@pytest.mark.parametrize("kind", _CUTS)
def test_a_power_cut_loses_nothing(machine: Machine, kind: str) -> None:
    suffer(machine, {"var/lib": kind}, _CUTS[kind], _LOSSES)


@pytest.mark.skipif(not IS_LONG, reason="an emulated machine is slow; in `make test-long`")
def test_a_power_cut_with_the_links_on_another_disk_loses_nothing(machine: Machine) -> None:
    suffer(machine, {"var/lib": "ext4", "var/lib/extensions": "xfs"}, _CUTS_OF_TWO, 0)


def suffer(machine: Machine, kinds: dict[str, str], cuts: int, losses: int) -> None:
    what = " and ".join(kinds.values())
    dice = seeded(what)
    disks = [Disk(machine.new_disk(f"disk{number}"), *it) for number, it in enumerate(kinds.items())]
    for disk in disks:
        disk.format()
    with tempfile.TemporaryDirectory(prefix="livelayer-power-", dir="/var/tmp") as scratch:
        trial = Trial(machine, disks, Path(scratch))
        for number in range(cuts):
            sys.stdout.write(f"{what}, cut {number}: {trial.cut(dice, losses)}\n")
        trial.repair()
