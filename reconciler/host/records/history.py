"""The records of generations, a file each: written once, never changed, dropped when they are too many or too old."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from reconciler.dataclass import dataclass
from reconciler.host.base.durable import read_json, write_json
from reconciler.host.base.walk import children
from reconciler.model.state.generation import FORMAT, Generation, generation_as_json, generation_from_json

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.paths import Paths

_NAME: Final = re.compile(r"([1-9][0-9]{0,9})\.json")


@dataclass(frozen=True, slots=True)
class History:
    """What is recorded of the generations of a node."""

    generations: tuple[Generation, ...]  # by number, the newest last
    damaged: tuple[Path, ...] = ()  # records that say nothing any more
    newer: tuple[Path, ...] = ()  # records of a newer livelayer, which this one cannot read


def read_history(paths: Paths) -> History:
    records = {path: read_json(path) for path in (record_of(paths, it) for it in sorted(_numbers(paths)))}
    newer = tuple(path for path, record in records.items() if _is_newer(record))
    read = {path: generation_from_json(record) for path, record in records.items() if path not in newer}
    sound = {path: it for path, it in read.items() if it and path.stem == str(it.number)}
    return History(tuple(sound.values()), tuple(path for path in read if path not in sound), newer)


def newest(paths: Paths) -> Generation | None:
    """The last one that can be read, without reading the others."""
    for number in sorted(_numbers(paths), reverse=True):
        record = read_json(record_of(paths, number))
        generation = None if _is_newer(record) else generation_from_json(record)
        if generation:
            return generation
    return None


def next_number(paths: Paths) -> int:
    """A number that none has had, damaged ones included."""
    return max(_numbers(paths), default=0) + 1


def write(paths: Paths, generation: Generation) -> None:
    write_json(record_of(paths, generation.number), generation_as_json(generation))


def _numbers(paths: Paths) -> list[int]:
    names = [path.name for path in children(paths.generations)]
    return [int(match[1]) for match in map(_NAME.fullmatch, names) if match]


def record_of(paths: Paths, number: int) -> Path:
    return paths.generations / f"{number}.json"


def _is_newer(record: Any) -> bool:  # noqa: ANN401 - JSON
    return isinstance(record, dict) and isinstance(record.get("format"), int) and record["format"] > FORMAT
