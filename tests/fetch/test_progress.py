"""What is told about transfers: on a terminal, in a log, and when nothing is to be told."""

from __future__ import annotations

import io
import logging
import sys
import time
from typing import TYPE_CHECKING

import pytest

from reconciler.fetch import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

MB = 1_000_000


@pytest.fixture(autouse=True)
def informative() -> Iterator[None]:
    """The package's usual level, which the command line sets."""
    logger = logging.getLogger("reconciler")
    before = logger.level
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(before)


@pytest.mark.parametrize(
    ("done", "total", "seconds", "line"),
    [
        (12_300_000, 45_600_000, 10.0, "ipfs: 12.3 of 45.6 MB, 1.2 MB/s, 27 s left"),
        (12_300_000, None, 10.0, "ipfs: 12.3 MB, 1.2 MB/s"),
        (0, 5 * MB, 0.0, "ipfs: 0.0 of 5.0 MB, 0.0 MB/s"),
        (6 * MB, 5 * MB, 1.0, "ipfs: 6.0 of 5.0 MB, 6.0 MB/s, 0 s left"),
    ],
)
def test_a_line_says_what_is_known(done: int, total: int | None, seconds: float, line: str) -> None:
    assert progress.progress_line("ipfs", done, total, seconds) == line


def test_a_log_gets_a_line_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(logging.getLogger("reconciler"), "propagate", True)
    monkeypatch.setattr(logging.getLogger("reconciler"), "handlers", [])
    with progress.display() as shown, shown("ipfs") as meter:
        for second in range(12):
            now = 100.0 + second
            meter(second * MB, 20 * MB)
    assert [record.message.split(",")[0] for record in caplog.records] == [
        "ipfs: 5.0 of 20.0 MB",
        "ipfs: 10.0 of 20.0 MB",
    ]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_bars_with_bytes_speed_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with progress.display() as shown, shown("ipfs") as meter, shown("other") as second:
        meter(1 * MB, 4 * MB)
        second(4 * MB, 4 * MB)
        deadline = time.monotonic() + 20  # it is drawn ten times a second
        while "other: unpacking" not in terminal.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert "1.0/4.0 MB" in terminal.getvalue()
    assert "other: unpacking" in terminal.getvalue()


def test_a_quiet_run_tells_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("reconciler").setLevel(logging.ERROR)
    with progress.display() as shown, shown("ipfs") as meter:
        meter(1, 2)
    assert capsys.readouterr() == ("", "")
