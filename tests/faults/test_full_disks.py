"""Disks that are full at any write, or read-only: a clear error, and what was merged stays merged and works."""

from __future__ import annotations

import itertools
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.victim import Want, Wish
from tests.luck import IS_LONG, seeded

if TYPE_CHECKING:
    from tests.faults.victim import Victim

pytestmark = [pytest.mark.system, pytest.mark.commands]

_ONE: Final = Want({"alpha": Wish("1"), "beta": Wish("1", "squashfs"), "gamma": Wish("1")})
_TWO: Final = Want({"alpha": Wish("2"), "beta": Wish("2", "squashfs"), "gamma": Wish("2")})
_STATE: Final = "/var/lib/livelayer"
_LINKS: Final = "/var/lib/extensions"
_RUNTIME: Final = "/run/livelayer"
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_AMPLE: Final = "size=64m,nr_inodes=10k,rw"
_WRITES: Final = 200 if IS_LONG else 2  # that hit the end of the disk, for each disk and each way to be full
_WAYS: Final = {_STATE: ("inodes", "pages"), _LINKS: ("inodes",), _RUNTIME: ("inodes", "pages")}  # links take no page


@dataclass(frozen=True, slots=True)
class _Disk:
    """A file system of limited size at a place of the node."""

    victim: Victim
    place: str

    def __post_init__(self) -> None:
        self.victim.root.joinpath(self.place.lstrip("/")).mkdir(exist_ok=True)
        self.victim.namespace.run("mount", "-t", "tmpfs", "-o", _AMPLE, "tmpfs", self.place)

    def leave_inodes(self, number: int) -> None:
        """So many files can still be made."""
        found = os.statvfs(self.victim.root / self.place.lstrip("/"))
        self._set(f"nr_inodes={found.f_files - found.f_ffree + number}")

    def leave_pages(self, number: int) -> None:
        """So many pages can still be filled."""
        found = os.statvfs(self.victim.root / self.place.lstrip("/"))
        self._set(f"size={(found.f_blocks - found.f_bfree + number) * _PAGE}")

    def make_read_only(self) -> None:
        """Nothing can be changed."""
        self._set("ro")

    def mend(self) -> None:
        """There is space again."""
        self._set(_AMPLE)

    def _set(self, options: str) -> None:
        self.victim.namespace.run("mount", "-o", f"remount,{options}", self.place)


def _still_works(victim: Victim) -> bool:
    return victim.faults() == [] and all(victim.says(name) in {"1", "2"} for name in _ONE.wishes)


_FULL: Final = re.compile(
    r"(no space left on device|needs more than .* which has .* free|I/O error).*\n {2}\S", re.IGNORECASE
)
_READ_ONLY: Final = re.compile(r"read-only file system.*\n {2}\S", re.IGNORECASE)


@pytest.mark.by_lot(1)
@pytest.mark.timeout(3600 if IS_LONG else 600)
@pytest.mark.parametrize("place", _WAYS)
def test_a_disk_that_is_full_or_read_only(victim: Victim, place: str) -> None:
    """At each write, until so much space is left that a run gets through."""
    disk = _Disk(victim, place)
    victim.learn(_TWO)
    victim.learn(_ONE)
    luck = seeded(place)
    wants = itertools.cycle((_TWO, _ONE))
    for way in _WAYS[place]:
        left = 0
        for number in range(_WRITES):
            after = next(wants)
            if not _fills_up(disk, way, left, after):
                assert number, "it was never full"
                break
            left += 1 if IS_LONG else luck.randrange(1, 12)
    _is_read_only(disk, next(wants))


def _fills_up(disk: _Disk, way: str, left: int, after: Want) -> bool:
    """Whether a run needs more than is left; afterwards the node is as it shall be anyway."""
    victim = disk.victim
    victim.want(after)
    victim.forget_unused()
    disk.leave_inodes(left) if way == "inodes" else disk.leave_pages(left)
    done = victim.apply(status=None)
    if done.returncode:
        print(place := disk.place, way, left, done.stderr)  # noqa: T201 - shown with a failure
        assert _FULL.search(done.stderr), place
        assert _still_works(victim), done.stderr
        disk.mend()
        victim.apply()
    assert list(victim.differences(after)) == [], done.stderr
    return done.returncode != 0


def _is_read_only(disk: _Disk, after: Want) -> None:
    """What is as it should be needs no disk that can be written to, except in /run."""
    victim = disk.victim
    shown = {name: victim.says(name) for name in _ONE.wishes}
    disk.make_read_only()
    victim.apply(status=1 if disk.place == _RUNTIME else 0)
    victim.want(after)
    for _ in range(2):
        done = victim.apply(status=1)
        assert _READ_ONLY.search(done.stderr), done.stderr
        assert {name: victim.says(name) for name in _ONE.wishes} == shown
        assert victim.faults() == []
    disk.mend()
    told = victim.apply().stderr
    assert list(victim.differences(after)) == [], told
