"""Files that replace others, and what is left when they do not come to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed
from reconciler.host.base.durable import drop_leftovers, read_json, write_atomically, write_json

if TYPE_CHECKING:
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
