"""Which trees have been touched: a look at the times of some inodes that costs next to nothing.

Whatever changes a file's content, mode, owner, attributes or links, or the names in a directory, sets that inode's
ctime, which cannot be set by hand. There is a budget, so that a look at large trees costs no more than one at
small ones: those are looked at wholly, of larger ones directories in random order, so that all get their turn.
"""

from __future__ import annotations

import os
import random
from itertools import islice
from typing import TYPE_CHECKING, Final

from reconciler.host.store import seals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths

BUDGET: Final = 1200  # inodes and lists of directories in one look: some 7 ms
_TOGETHER: Final = 32  # of one directory
_UNKNOWN: Final = 1 << 63  # what cannot be looked at counts as changed, later than anything


def touched_entries(paths: Paths, entries: Iterable[Entry], when: int) -> dict[Entry, int]:
    """Of entries with a manifest, those that were touched since they were sealed, with the time of that."""
    sealed = {entry: time for entry in entries if (time := seals.sealed(paths, entry)) is not None}
    # A time that is to come was taken when the clock was wrong: it says nothing.
    since = {entry: time if time <= when else 0 for entry, time in sealed.items()}
    places = {paths.store / entry.file_name: entry for entry in since}
    seen = touched({place: since[entry] for place, entry in places.items()})
    return {places[place]: since[places[place]] for place in seen}


def touched(since: Mapping[Path, int], budget: int = BUDGET) -> frozenset[Path]:
    """Of directories and files, those in which an inode was seen that was changed at that time or later.

    Times are in nanoseconds since the epoch; the budget is for all together.
    """
    walks = {place: _times(os.fspath(place)) for place in since}
    found: set[Path] = set()
    while walks and budget > 0:
        share = max(1, budget // len(walks))
        for place, walk in list(walks.items()):
            times = list(islice(walk, share))
            budget -= len(times)
            if times and max(times) >= since[place]:
                found.add(place)
            if len(times) < share or place in found:
                del walks[place]
    return frozenset(found)


def _times(top: str) -> Iterator[int]:
    """The ctimes of a tree's inodes. What is next is drawn: a directory to be listed, or some of what one has."""
    try:
        yield os.lstat(top).st_ctime_ns
    except OSError:
        yield _UNKNOWN
    todo: list[str | list[os.DirEntry[str]]] = [top]
    while todo:
        drawn = int(random.random() * len(todo))  # noqa: S311 - no secret
        todo[drawn], todo[-1] = todo[-1], todo[drawn]
        match todo.pop():
            case str(directory):
                yield from _list(directory, todo)
            case items:
                for item in items:
                    yield _time(item)


def _list(directory: str, todo: list[str | list[os.DirEntry[str]]]) -> Iterator[int]:
    """Add what a directory has to what is to do; that costs as much as to look at an inode, and counts as one."""
    try:
        with os.scandir(directory) as listed:
            items = list(listed)
    except NotADirectoryError:
        return
    except OSError:
        yield _UNKNOWN
        return
    todo += [item.path for item in items if item.is_dir(follow_symlinks=False)]
    todo += [items[start : start + _TOGETHER] for start in range(0, len(items), _TOGETHER)]
    yield 0


def _time(item: os.DirEntry[str]) -> int:
    try:
        return item.stat(follow_symlinks=False).st_ctime_ns
    except OSError:
        return _UNKNOWN
