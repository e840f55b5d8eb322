"""Writing out beside the work, and errors that must not get lost."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed
from reconciler.host.base import writeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _on_sync(monkeypatch: pytest.MonkeyPatch, outcome: Callable[[], list[Failed]]) -> threading.Event:
    """Look at every write-out; a disk that fails at the right moment cannot be had."""
    happened = threading.Event()

    def sync(_descriptor: int, _path: Path) -> list[Failed]:
        happened.set()
        return outcome()

    monkeypatch.setattr(writeout, "sync_descriptor", sync)
    monkeypatch.setattr(writeout, "_INTERVAL", 0.01)
    return happened


def test_it_is_written_out_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened = _on_sync(monkeypatch, list)
    with writeout.early(tmp_path):
        assert happened.wait(100)
    assert threading.enumerate() == [threading.main_thread()]


def test_an_error_is_raised_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened = _on_sync(monkeypatch, lambda: [Failed("the disk is broken")])
    with pytest.raises(Failed, match="the disk is broken"), writeout.early(tmp_path):
        assert happened.wait(100)


def test_the_error_of_the_work_itself_counts_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened = _on_sync(monkeypatch, lambda: [Failed("the disk is broken")])
    with pytest.raises(ZeroDivisionError), writeout.early(tmp_path):  # noqa: PT012 - the wait belongs to the work
        assert happened.wait(100)
        _ = 1 / 0
