"""When a skopeo that fetches is not waited for any longer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from reconciler.host.registry import stall
from reconciler.host.registry.stall import StallWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RETRY_AFTER = """time="2026-01-01T00:00:00Z" level=debug msg="Detected 'Retry-After' header \\"{}\\""\n"""


class Clock:
    """A time that tests set."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the module takes for the time; no thread of this process waits for a disk."""
    clock = Clock()
    monkeypatch.setattr(stall, "time", clock)
    monkeypatch.setattr(stall, "_waits_for_disk", lambda _process: False)
    return clock


def _grow(layout: Path) -> None:
    with (layout / "oci-put-blob1").open("ab") as blob:
        blob.write(b"x")


def _finish(layout: Path) -> None:
    (layout / "oci-put-blob1").unlink()


def test_what_comes_is_waited_for_and_silence_is_not(tmp_path: Path, clock: Clock) -> None:
    layout = tmp_path / "image"
    watch = StallWatch(60, layout)
    steps: list[Callable[[Path], None]] = [lambda it: it.mkdir(), _grow, _grow, _finish]
    for step in steps:
        step(layout)
        clock.now += 59
        assert not watch(os.getpid(), "")
        clock.now += 59
        assert not watch(os.getpid(), "")
    clock.now += 1
    assert watch(os.getpid(), "")
    assert watch.is_reached


def _beginning(layout: Path) -> tuple[Path, StallWatch]:
    """A blob of which nothing has come yet, and a watch that takes less than 10 bytes in a second for nothing."""
    layout.mkdir()
    blob = layout / "oci-put-blob1"
    blob.touch()
    return blob, StallWatch(60, layout, rate=10)


def test_less_than_the_least_rate_is_nothing(tmp_path: Path, clock: Clock) -> None:
    blob, watch = _beginning(tmp_path / "image")
    assert not watch(os.getpid(), "")
    for size in range(20, 60 * 20, 20):  # twice as fast
        clock.now += 1
        os.truncate(blob, size)
        assert not watch(os.getpid(), "")
    for size in range(1180, 1180 + 59):  # a tenth of it
        clock.now += 1
        os.truncate(blob, size)
        assert not watch(os.getpid(), "")
    clock.now += 1
    assert watch(os.getpid(), "")


def test_a_burst_now_and_then_is_fast_enough(tmp_path: Path, clock: Clock) -> None:
    blob, watch = _beginning(tmp_path / "image")
    assert not watch(os.getpid(), "")
    for burst in range(1, 5):
        for _ in range(50):
            clock.now += 1
            assert not watch(os.getpid(), "")
        os.truncate(blob, burst * 600)


def test_what_prints_at_its_end_has_as_long_in_all(clock: Clock) -> None:
    watch = StallWatch(60, None)
    clock.now = 59
    assert not watch(os.getpid(), "")
    clock.now = 60
    assert watch(os.getpid(), "")


def test_a_disk_that_is_slow_is_no_silent_registry(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stall, "_waits_for_disk", lambda _process: True)
    watch = StallWatch(60, tmp_path)
    clock.now = 1000
    assert not watch(os.getpid(), "")


@pytest.mark.parametrize(("asked", "is_reached"), [("30", False), ("31", True), ("nonsense", False)])
def test_a_registry_that_asks_for_long_is_left_to_a_later_run(
    tmp_path: Path, clock: Clock, asked: str, *, is_reached: bool
) -> None:
    assert clock.now == 0
    assert StallWatch(60, tmp_path)(os.getpid(), RETRY_AFTER.format(asked)) is is_reached


def test_a_process_that_is_gone_waits_for_nothing() -> None:
    assert not stall._waits_for_disk(1 << 22)  # noqa: SLF001


@pytest.mark.commands
def test_an_uninterruptible_sleep_is_seen() -> None:
    """A caller of vfork is in one for as long as the child lives."""
    program = "import ctypes, time; ctypes.CDLL(None).vfork(); time.sleep(250)"
    with subprocess.Popen([sys.executable, "-c", program], start_new_session=True) as process:
        try:
            while not stall._waits_for_disk(process.pid):  # noqa: SLF001
                assert process.poll() is None
                time.sleep(0.01)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
