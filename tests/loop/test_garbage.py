"""What is cleared away and what is not, on miniature nodes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from reconciler.host.records.prefetched import write_prefetched
from reconciler.loop.garbage import clear_away
from reconciler.loop.reconcile import converge
from reconciler.loop.session import Options
from tests.seed import configure, entry, fill_store

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.state.generation import Dropped
    from reconciler.paths import Paths

ONE = "docker://registry/one:v1"


@pytest.fixture
def filled(paths: Paths) -> Paths:
    """A node with one extension placed, and one that nothing speaks of any more."""
    configure(paths, f"extensions: {{one: {{source: '{ONE}'}}}}")
    fill_store(paths, ONE, "one", "a")
    assert converge(paths, Options(), "test").in_sync
    fill_store(paths, "docker://registry/other:v1", "other", "b")
    write_prefetched(paths, [])
    return paths


def _clear(paths: Paths) -> list[str]:
    return [f"{it.what} {it.path.name}" for it in _dropped(paths)]


def _dropped(paths: Paths) -> list[Dropped]:
    return clear_away(paths, Options(), dry_run=False)


def _blob(paths: Paths, name: str) -> Path:
    blob = paths.blobs / "sha256" / name
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_text("content")
    return blob


def test_content_that_nothing_needs_goes_with_its_records(filled: Paths) -> None:
    for directory in (filled.file_lists, filled.manifests):
        directory.mkdir(exist_ok=True)
        (directory / f"{entry('b').file_name}.json").write_text("{}")
    gone = [f"content {entry('b').file_name}", *[f"record {entry('b').file_name}.json"] * 2]
    assert _clear(filled) == gone
    assert [path.name for path in filled.store.iterdir()] == [entry("a").file_name]
    assert _clear(filled) == []


def test_what_is_prefetched_stays(filled: Paths) -> None:
    write_prefetched(filled, [entry("b")])
    assert _clear(filled) == []
    write_prefetched(filled, [entry("c")])
    assert _clear(filled) == [f"content {entry('b').file_name}"]


def test_what_is_only_to_be_fetched_stays(filled: Paths) -> None:
    listed = f"one: {{source: '{ONE}'}}, other: {{source: 'docker://registry/other:v1', state: fetched}}"
    configure(filled, f"extensions: {{{listed}}}")
    assert _clear(filled) == []


def test_records_of_a_newer_livelayer_keep_all_content(filled: Paths) -> None:
    (filled.generations / "7.json").write_text(json.dumps({"format": 99}))
    assert _clear(filled) == []


def test_damaged_records_go_when_their_turn_comes(filled: Paths) -> None:
    (filled.generations / "1.json").rename(filled.generations / "5.json")
    record = json.loads((filled.generations / "5.json").read_text())
    (filled.generations / "5.json").write_text(json.dumps({**record, "number": 5}))
    for number in (4, 6):
        (filled.generations / f"{number}.json").write_text("{")
    assert _clear(filled) == ["generation 4.json", f"content {entry('b').file_name}"]
    assert sorted(path.name for path in filled.generations.iterdir()) == ["5.json", "6.json"]


def test_downloads_that_are_not_over_stay_for_a_week(filled: Paths) -> None:
    fresh, old = _blob(filled, f"{'c' * 64}.part"), _blob(filled, f"{'d' * 64}.part")
    os.utime(old, (1, 1))
    kept = _blob(filled, entry("a").digest.removeprefix("sha256:"))
    other = _blob(filled, "e" * 64)
    assert _clear(filled)[1:] == [f"blob {old.name}", f"blob {other.name}"]
    assert fresh.exists()
    assert kept.exists()


def test_sizes_are_those_on_disk_and_links_count_once(filled: Paths) -> None:
    tree = filled.store / entry("b").file_name
    (tree / "usr/bulk").write_bytes(b"x" * 100_000)
    (tree / "usr/again").hardlink_to(tree / "usr/bulk")
    with (tree / "usr/sparse").open("wb") as sparse:
        sparse.truncate(1 << 30)
    (dropped,) = _dropped(filled)
    assert 100_000 <= dropped.size < 300_000
