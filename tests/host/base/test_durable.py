"""Files that replace others, and what is left when they do not come to it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed
from reconciler.host.base import durable
from reconciler.host.base.durable import (
    drop_leftovers,
    read_json,
    write_atomically,
    write_json,
    written_out_early,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_only_what_a_killed_run_left_is_dropped(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {})
    for name in (".a.json.4711", ".refresh-owed-sysext.1"):
        (tmp_path / name).touch()
    for name in ("b.1", ".hidden", ".1"):
        (tmp_path / name).touch()
    (tmp_path / ".directory.1").mkdir()
    (tmp_path / ".link.1").symlink_to("a.json")
    drop_leftovers(tmp_path)
    drop_leftovers(tmp_path / "missing")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *(".1", ".directory.1", ".hidden", ".link.1", "a.json", "b.1")
    ]


def test_something_else_in_a_record_s_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(Failed, match="Is a directory") as failed:
        write_atomically(tmp_path / "a.json", b"{}")
    assert failed.value.hint == f"remove it: {tmp_path / 'a.json'}"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\0"])
def test_a_damaged_record_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert read_json(tmp_path / "a.json") is None


def _on_sync(monkeypatch: pytest.MonkeyPatch, outcome: Callable[[], list[Failed]]) -> threading.Event:
    """Look at every write-out; a disk that fails at the right moment cannot be had."""
    happened = threading.Event()

    def sync(_descriptor: int, _path: Path) -> list[Failed]:
        happened.set()
        return outcome()

    monkeypatch.setattr(durable, "sync_descriptor", sync)
    monkeypatch.setattr(durable, "_INTERVAL", 0.01)
    return happened


def test_the_file_system_is_written_out_beside_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened, before = _on_sync(monkeypatch, list), set(threading.enumerate())
    with written_out_early(tmp_path):
        assert happened.wait(100)
    assert set(threading.enumerate()) <= before


def test_an_error_of_writing_out_is_raised_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened = _on_sync(monkeypatch, lambda: [Failed("the disk is broken")])
    with pytest.raises(Failed, match="the disk is broken"), written_out_early(tmp_path):
        assert happened.wait(100)


def test_the_error_of_the_work_itself_counts_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened = _on_sync(monkeypatch, lambda: [Failed("the disk is broken")])
    with pytest.raises(ZeroDivisionError), written_out_early(tmp_path):  # noqa: PT012 - the wait belongs to the work
        assert happened.wait(100)
        _ = 1 / 0
