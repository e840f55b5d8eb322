"""The records of generations on disk, sound and not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.host.records import history
from reconciler.model.state.generation import Generation, generation_as_json

if TYPE_CHECKING:
    from reconciler.paths import Paths


def _generation(number: int) -> Generation:
    return Generation(number, datetime(2026, 3, 1, tzinfo=UTC), "apply", {"extensions": {}}, {})


def test_records_are_read_in_the_order_of_their_numbers(paths: Paths) -> None:
    assert history.read_history(paths) == history.History(())
    assert history.newest(paths) is None
    assert history.next_number(paths) == 1
    for number in (2, 10, 9):
        history.write(paths, _generation(number))
    assert [it.number for it in history.read_history(paths).generations] == [2, 9, 10]
    assert history.newest(paths) == _generation(10)
    assert history.next_number(paths) == 11


def test_damaged_and_newer_records_are_told_apart_and_keep_their_numbers(paths: Paths) -> None:
    history.write(paths, _generation(1))
    (paths.generations / "2.json").write_text("{")
    (paths.generations / "3.json").write_text(json.dumps({"format": 2, "number": 3, "anything": "else"}))
    (paths.generations / "4.json").write_text(json.dumps(generation_as_json(_generation(1))))
    (paths.generations / "notes").write_text("by hand")
    found = history.read_history(paths)
    assert found.generations == (_generation(1),)
    assert [path.name for path in found.damaged] == ["2.json", "4.json"]
    assert [path.name for path in found.newer] == ["3.json"]
    assert history.next_number(paths) == 5
