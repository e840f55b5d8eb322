"""Where a node's state is, and its way to another directory, on another file system too.

A record at the node's default place says where the state is, if not there; it is what leads to the last good
configuration while the present one, which may name another directory, is broken. A move copies (hard links, where
that is possible), turns the links over and only then changes the record. What was copied is removed once the
overlay has been merged anew, since a merged tree must not lose its files.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, Invalid
from reconciler.host.base.durable import (
    drop_leftovers,
    read_json,
    sync_directory,
    sync_filesystem,
    write_json,
)
from reconciler.host.merge import links
from reconciler.host.node.machine import is_kairos
from reconciler.host.store import entries as store
from reconciler.paths import KAIROS_STATE_DIR, STATE_DIR, STATE_ITEMS, Paths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.kind import Kind
    from reconciler.model.state.observed import Merged

log = logging.getLogger(__name__)

_TIMEOUT: Final = 3600.0  # seconds, for a copy to another disk
_AT_ONCE: Final = 200  # files, for one command line
_ENTRIES: Final = ("store/sha256", "blobs/sha256")  # what is complete or absent, one by one
# Lists of files are made anew.
_RECORDS: Final = tuple(
    item for item in STATE_ITEMS if item not in {"store", "blobs", "staging", "file-lists", "replaced"}
)


@dataclass(frozen=True, slots=True)
class _Record:
    state_dir: str
    former: tuple[str, ...] = ()  # where links may still lead to, and content waits to be removed


def home(paths: Paths) -> Paths:
    """The locations with the state where it is by default."""
    return replace(paths, state_dir=KAIROS_STATE_DIR if is_kairos(paths) else STATE_DIR)


def locate(paths: Paths) -> Paths:
    """The locations with the state where it is now."""
    return replace(paths, state_dir=_read(home(paths)).state_dir)


def settle(paths: Paths, wanted: str | None) -> Paths:
    """The locations with the state where it shall be; what is elsewhere is moved there.

    Args:
        paths: the node.
        wanted: the directory; None: where it is.

    Raises:
        Invalid: one of the two directories lies in the other.
        Failed: the file system refuses; the state is where it was.
    """
    at_home = home(paths)
    drop_leftovers(at_home.state)
    record = _read(at_home)
    if at_home.location.exists() and not _recorded(at_home):
        log.warning("%s: damaged, made anew: the state is in %s", at_home.location, record.state_dir)
        _write(at_home, record)
    target = replace(paths, state_dir=wanted or _destination(at_home, record))
    sources = tuple(it for it in (record.state_dir, *record.former) if it != target.state_dir)
    if not sources:
        return target
    if target.state_dir != record.state_dir:
        _refuse_nesting(record.state_dir, target.state_dir)
        log.info("moving the state from %s to %s", record.state_dir, target.state_dir)
        others = tuple(it for it in (*sources, target.state_dir) if it != record.state_dir)
        _write(at_home, _Record(record.state_dir, others))
    store.prepare(target)
    for source in sources:
        _take_over(replace(paths, state_dir=source), target, records=source == record.state_dir)
    if target.state_dir != record.state_dir:
        _write(at_home, _Record(target.state_dir, sources))
    return target


def tidy(paths: Paths, merged: Mapping[Kind, Merged] | None) -> None:
    """Remove what a move has left behind, once no overlay can show it any more.

    Args:
        paths: the node, with the state where it is.
        merged: the overlays; None: there are none below this root.
    """
    at_home = home(paths)
    record = _read(at_home)
    if not record.former or record.state_dir != paths.state_dir:
        return
    moved = at_home.location.stat().st_mtime_ns
    if any(overlay.since is not None and overlay.since <= moved for overlay in (merged or {}).values()):
        return
    left = tuple(former for former in record.former if not _remove(replace(paths, state_dir=former)))
    if left != record.former:
        _write(at_home, _Record(record.state_dir, left))


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


def _destination(at_home: Paths, record: _Record) -> str:
    return record.state_dir if at_home.location.exists() else at_home.state_dir


def _write(at_home: Paths, record: _Record) -> None:
    """At home no record is needed."""
    if record == _Record(at_home.state_dir):
        at_home.location.unlink(missing_ok=True)
    else:
        store.make_state_directory(at_home)
        write_json(at_home.location, {"state_dir": record.state_dir, "former": record.former})


def _refuse_nesting(old: str, new: str) -> None:
    if f"{new}/".startswith(f"{old}/") or f"{old}/".startswith(f"{new}/"):
        raise Invalid(f"{new}: the state cannot move there from {old}", "choose a directory beside it")


def _take_over(source: Paths, target: Paths, *, records: bool) -> None:
    """Bring over what is missing, then let the links lead to it."""
    for name in _ENTRIES:
        here = {path.name for path in children(target.state / name)}
        _copy([path for path in children(source.state / name) if path.name not in here], target, name)
    if records:
        _copy([path for path in children(source.state) if path.name in _RECORDS], target, ".")
    links.repoint(target, source)


def _copy(originals: Sequence[Path], target: Paths, name: str) -> None:
    """Copy into a directory of the state, each complete or absent."""
    directory = target.state / name
    for start in range(0, len(originals), _AT_ONCE):
        with store.stage(target) as stage:
            _run_cp(originals[start : start + _AT_ONCE], stage)
            sync_filesystem(stage)
            _rename(stage, directory)


def _rename(stage: Path, directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in children(stage):
            target = directory / path.name
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)  # a directory of records that an interrupted move has brought already
            path.replace(target)
        sync_directory(directory)
    except OSError as error:
        raise Failed(f"{directory}: cannot be filled: {error.strerror}", "look at the file system") from error


def _run_cp(originals: Sequence[Path], stage: Path) -> None:
    """With owners, modes, times, extended attributes, holes and hard links."""
    from reconciler.host.base.command import check, run

    same_disk = os.stat(originals[0]).st_dev == os.stat(stage).st_dev  # noqa: PTH116 - two of a kind
    options = ("-a", "-l") if same_disk else ("-a",)
    check(run("cp", *options, *map(str, originals), str(stage), timeout=_TIMEOUT), f"cp to {stage.parent}")


def _remove(former: Paths) -> bool:
    """Whether nothing of it is left; otherwise it waits for the next run.

    By way of the staging directory: after a move back, half of an entry would be taken for one.
    """
    try:
        former.staging.mkdir(exist_ok=True)
        doomed = Path(tempfile.mkdtemp(prefix="removed-", dir=former.staging))
        for name in STATE_ITEMS:
            if name != former.staging.name and os.path.lexists(former.state / name):
                (former.state / name).rename(doomed / name)
        shutil.rmtree(former.staging)
        drop_leftovers(former.state)
        if former != home(former) and not children(former.state):
            former.state.rmdir()
    except FileNotFoundError:
        return not former.state.exists()
    except OSError as error:
        log.warning("%s: cannot be removed yet: %s", error.filename or former.state, error.strerror)
        return False
    return True


def children(directory: Path) -> list[Path]:
    """What is in a directory, in order; nothing where there is none."""
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
