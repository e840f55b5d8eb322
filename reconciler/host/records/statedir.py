"""Where a node's state is, and its way to another directory, on another file system too.

The directory is chosen when there is no state yet: the configured one, or else the node's default. A record at the
default place says where the state is, if not there; it is what leads to the last good configuration while the
present one is broken. A move copies (hard links, where that is possible), changes the record and turns the links
over; what it came from is removed once the overlay has been merged anew, since a merged tree must not lose its files.
A move that is killed loses nothing, and is ended by the same command.
"""

from __future__ import annotations

import logging
import os
import shlex
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, Invalid
from reconciler.host.base.durable import drop_leftovers, read_json, sync_filesystem, write_json
from reconciler.host.merge import links
from reconciler.host.node.machine import is_kairos
from reconciler.host.store import entries as store
from reconciler.paths import KAIROS_STATE_DIR, STATE_DIR, STATE_ITEMS, Paths

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.model.kind import Kind
    from reconciler.model.state.observed import Merged

log = logging.getLogger(__name__)

_TIMEOUT: Final = 3600.0  # seconds, for a copy to another disk


@dataclass(frozen=True, slots=True)
class _Record:
    state_dir: str
    former: tuple[str, ...] = ()  # where links may still lead to, and content waits to be removed


def home(paths: Paths) -> Paths:
    """The locations with the state where it is by default."""
    return replace(paths, state_dir=KAIROS_STATE_DIR if is_kairos(paths) else STATE_DIR)


def locate(paths: Paths, wanted: str | None = None) -> Paths:
    """The locations with the state where it is now; where there is none yet, where it is wanted."""
    at_home = home(paths)
    found = replace(paths, state_dir=_read(at_home).state_dir)
    if wanted is None or at_home.location.exists() or children(found.store):
        return found
    return replace(paths, state_dir=wanted)


def complaint(paths: Paths, wanted: str | None) -> Invalid | None:
    """What is wrong with where the state is, if anything.

    Args:
        paths: the node, with the state where it is.
        wanted: the configured directory, if there is one.
    """
    if wanted not in {None, paths.state_dir}:
        words = f"settings.state_dir is {wanted}, but the state is in {paths.state_dir}, and stays there"
        return Invalid(words, f"to move it, run: livelayer move-state {wanted}")
    former = _read(home(paths)).former
    if former:
        words = f"the state has not been moved from {', '.join(former)} to {paths.state_dir} completely"
        return Invalid(words, f"run: livelayer move-state {paths.state_dir}")
    return None


def remember(paths: Paths) -> None:
    """Record where the state is, for when the configuration cannot say it.

    Raises:
        Failed: the file system refuses.
    """
    at_home = home(paths)
    drop_leftovers(at_home.state)
    is_damaged = at_home.location.exists() and not _recorded(at_home)
    if is_damaged:
        log.warning("%s: damaged, made anew: the state is in %s", at_home.location, paths.state_dir)
    if is_damaged or _read(at_home).state_dir != paths.state_dir:
        _write(at_home, _Record(paths.state_dir))


def move(paths: Paths, wanted: str) -> Paths:
    """Bring the state to another directory, where it is not there yet, and let the links lead there.

    Only the holder of the lock may; a refresh, and `remove_former`, are to follow.

    Raises:
        Invalid: one of the two directories lies in the other, or there is a state in the new one already.
        Failed: the file system refuses; the state is where it was.
    """
    at_home, target = home(paths), replace(paths, state_dir=wanted)
    record = _read(at_home)
    if wanted in record.former and (error := complaint(replace(paths, state_dir=record.state_dir), None)):
        raise error
    if record.state_dir != wanted:
        _refuse_nesting(record.state_dir, wanted)
        _copy(replace(paths, state_dir=record.state_dir), target)
        record = _Record(wanted, (record.state_dir, *record.former))
    _write(at_home, record)
    for former in record.former:
        links.repoint(target, replace(paths, state_dir=former))
    return target


def remove_former(paths: Paths, merged: Mapping[Kind, Merged] | None) -> tuple[str, ...]:
    """Remove what a move has left behind, once no overlay can show it any more; only the holder of the lock may.

    Args:
        paths: the node, with the state where it is.
        merged: the overlays; None: there are none below this root.

    Returns:
        The directories in which something is left.

    Raises:
        Failed: the file system refuses.
    """
    at_home = home(paths)
    record = _read(at_home)
    moved = at_home.location.stat().st_mtime_ns if record.former else 0
    if any(overlay.since is not None and overlay.since <= moved for overlay in (merged or {}).values()):
        return record.former
    for former in record.former:
        _remove(replace(paths, state_dir=former))
    _write(at_home, _Record(record.state_dir))
    return ()


def _read(at_home: Paths) -> _Record:
    """Where a record is damaged, the links tell where the state is."""
    record = _recorded(at_home)
    if record:
        return record
    linked = links.find_state(at_home) if at_home.location.exists() else None
    return _Record(linked or _older_default(at_home) or at_home.state_dir)


def _recorded(at_home: Paths) -> _Record | None:
    match read_json(at_home.location):
        case {"state_dir": str(state_dir), "former": [*former]} if all(isinstance(it, str) for it in former):
            return _Record(state_dir, tuple(former))
        case _:
            return None


def _older_default(at_home: Paths) -> str | None:
    """Where the state of a Kairos node was before it had a default place of its own."""
    older = replace(at_home, state_dir=STATE_DIR)
    return STATE_DIR if not at_home.store.is_dir() and older.store.is_dir() else None


def _write(at_home: Paths, record: _Record) -> None:
    """At home no record is needed."""
    if record == _Record(at_home.state_dir):
        at_home.location.unlink(missing_ok=True)
    else:
        store.make_state_directory(at_home)
        write_json(at_home.location, {"state_dir": record.state_dir, "former": record.former})


def _refuse_nesting(old: str, new: str) -> None:
    if f"{new}/".startswith(f"{old}/") or f"{old}/".startswith(f"{new}/"):
        raise Invalid(
            f"{new}: the state cannot move there from {old}", "choose a directory beside it", code="state.immovable"
        )


def _copy(source: Paths, target: Paths) -> None:
    """All of the state; nothing of it is left there if that fails."""
    if there := _items(target):
        names = ", ".join(path.name for path in there)
        hint = f"if a move that was interrupted has left that, run: rm -r {shlex.join(map(str, there))}"
        raise Invalid(f"{target.state_dir} has a state already: {names}", hint)
    store.make_state_directory(target)
    try:
        if originals := _items(source):
            _run_cp(originals, target.state)
        sync_filesystem(target.state)
    except BaseException:
        _remove(target)
        raise


def _items(paths: Paths) -> list[Path]:
    return [path for path in children(paths.state) if path.name in STATE_ITEMS]


def _run_cp(originals: list[Path], directory: Path) -> None:
    """With owners, modes, times, extended attributes, holes and hard links."""
    from reconciler.host.base.command import check, run

    same_disk = os.stat(originals[0]).st_dev == os.stat(directory).st_dev  # noqa: PTH116 - two of a kind
    options = ("-a", "-l") if same_disk else ("-a",)
    check(run("cp", *options, *map(str, originals), str(directory), timeout=_TIMEOUT), f"cp to {directory}")


def _remove(paths: Paths) -> None:
    try:
        for path in _items(paths):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if paths != home(paths) and not children(paths.state):
            paths.state.rmdir()
    except OSError as error:
        raise Failed.of(error, f"{error.filename or paths.state}: cannot be removed", "remove it") from error


def children(directory: Path) -> list[Path]:
    """What is in a directory, in order; nothing where there is none."""
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
