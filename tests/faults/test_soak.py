"""A daemon that takes many edits of its configuration in a row keeps nothing of them.

LIVELAYER_LONG makes it 10,000, which takes half an hour or more.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from tests.luck import IS_LONG
from tests.rig.images import command

if TYPE_CHECKING:
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]

_EDITS: Final = 10_000 if IS_LONG else 40
_IDLE: Final = 1.5  # seconds; a thread that has looked below the overlay ends after one of them
_WARM_UP: Final = 200 if IS_LONG else 20  # edits until everything that is loaded lazily is there
_PATIENCE: Final = 120.0  # seconds for one edit, on a busy machine
_GROWTH: Final = 4 << 20  # bytes of memory that are no leak: a heap is never quite the same


@dataclass(frozen=True)
class Held:
    """What a daemon and its node hold."""

    memory: int
    descriptors: int
    threads: int
    mounts: int
    loop_devices: int
    store: int
    blobs: int
    generations: int
    staged: int


def _held(bench: Bench, daemon: int) -> Held:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{daemon}/status").read_text().splitlines())
    state = bench.namespace.root / "var/lib/livelayer"
    names = {name: os.listdir(state / name) for name in ("store/sha256", "blobs/sha256", "generations", "staging")}
    backing = [Path(it.read_text().strip()).name for it in Path("/sys/block").glob("loop*/loop/backing_file")]
    return Held(
        memory=int(status["VmRSS"].split()[0]) << 10,
        descriptors=len(os.listdir(f"/proc/{daemon}/fd")),
        threads=int(status["Threads"]),
        mounts=len(Path(f"/proc/{daemon}/mountinfo").read_text().splitlines()),
        loop_devices=len([name for name in backing if name in names["store/sha256"]]),
        store=len(names["store/sha256"]),
        blobs=len(names["blobs/sha256"]),
        generations=len(names["generations"]),
        staged=len(names["staging"]),
    )


@pytest.mark.timeout(4 * 3600 if IS_LONG else 600)
def test_a_daemon_that_takes_many_edits_keeps_nothing_of_them(bench: Bench) -> None:
    sources = {tag: bench.push(tag, command("x", tag)) for tag in ("one", "two")}
    image = bench.push("image", command("packed", bench.repository), name="packed")  # like no other test's
    log = bench.namespace.path("/var/lib/livelayer.log")
    daemon = _start(bench, log)
    try:
        for number in range(_WARM_UP):
            _edit(bench, sources, image, number)
        before = _rested(bench, _pid(daemon))
        for number in range(_EDITS):
            _edit(bench, sources, image, number)
        after = _rested(bench, _pid(daemon))
    finally:
        daemon.terminate()
        daemon.wait()
    print(f"{_EDITS} edits\nbefore: {before}\nafter:  {after}")  # noqa: T201 - the figures are what it is for
    assert after.memory - before.memory < _GROWTH, (before, after)
    assert (after.descriptors, after.threads, after.mounts) == (before.descriptors, before.threads, before.mounts)
    assert (after.loop_devices, after.store, after.blobs) == (before.loop_devices, before.store, before.blobs)
    assert (after.generations, after.staged) == (before.generations, before.staged) == (10, 0)


def _rested(bench: Bench, daemon: int) -> Held:
    """What is held once the last run is over, and the kernel has let go of an image: systemd unmounts it lazily."""
    deadline = time.monotonic() + _PATIENCE
    while (_is_at_work(bench) or _held(bench, daemon).loop_devices) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(_IDLE)
    return _held(bench, daemon)


def _is_at_work(bench: Bench) -> bool:
    """Whether a run holds the lock: it has a descriptor for that, and writes its status before the end."""
    with (bench.namespace.root / "run/livelayer/state/lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _start(bench: Bench, log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(
            bench.namespace.command(bench.command, "--quiet", "watch"), stdout=output, stderr=output
        )


def _pid(daemon: subprocess.Popen[bytes]) -> int:
    assert daemon.poll() is None
    return daemon.pid


def _edit(bench: Bench, sources: dict[str, str], image: str, number: int) -> None:
    """Change a version at each edit, and let an image file come and go at every other one; wait for the daemon."""
    tag = ("one", "two")[number % 2]
    packed = f"  packed: {{source: '{image}', format: squashfs}}\n" if number % 4 < 2 else ""
    bench.configure(
        f"settings: {{retention: {{generations: 10}}}}\nextensions:\n  x: {{source: '{sources[tag]}'}}\n{packed}"
    )
    deadline = time.monotonic() + _PATIENCE
    while not _has_arrived(bench, sources[tag], bool(packed)):
        assert time.monotonic() < deadline, (number, bench.namespace.path("/var/lib/livelayer.log").read_text())
        time.sleep(0.01)


def _has_arrived(bench: Bench, source: str, packed: bool) -> bool:  # noqa: FBT001
    document = {}
    with suppress(OSError, ValueError):
        document = json.loads((bench.namespace.root / "run/livelayer/status.json").read_bytes())
    found = {item["name"]: item for item in document.get("extensions", ())}
    return (
        document.get("in_sync", False)
        and found.get("x", {}).get("source") == source
        and ("packed" in found) == packed
        and all(item["merged"] for item in found.values())
    )
