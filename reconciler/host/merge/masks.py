"""Masks: empty directories by which livelayer hides a bad extension of others, to stay or for a refresh.

The first search directory that has a name wins, and a directory without a release file is ignored, so an empty one
hides whatever has its name in those of lower precedence (measured on systemd 252, 257 and 262). A record tells them
from empty directories of others; it is written first, so that no mask is ever left without one.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import Failed
from reconciler.host.base.durable import make_directory, read_json, sync_directory, write_json
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.state.observed import Masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.model.state.observed import Unmanaged
    from reconciler.paths import Paths


def read_masks(paths: Paths) -> tuple[Masked, ...]:
    """The masks that livelayer made to stay, and that are still what it made."""
    return tuple(it for it in _all_recorded(paths) if it.reason is not None and _is_empty_directory(it.path))


def place_for(paths: Paths, item: Unmanaged, systemd: int) -> Path | None:
    """Where a mask hides an extension: where a boot forgets it, if that is of higher precedence; None: nowhere."""
    directories = paths.search_dirs(item.kind, systemd)
    if item.place.parent not in directories:
        return None
    higher = directories[: directories.index(item.place.parent)]
    volatile = [it for it in higher if it.is_relative_to(paths.under("/run"))]
    place = next((it / item.name for it in (*volatile, *reversed(higher))), None)
    return None if place is None or (os.path.lexists(place) and not _is_empty_directory(place)) else place


def mask(paths: Paths, made: Masked) -> None:
    record = _record_of(paths, made.path)
    _record(record, [*(it for it in _recorded(record) if it.path != made.path), made])
    try:
        make_directory(made.path.parent)
        made.path.mkdir(mode=0o755)
        sync_directory(made.path.parent)
    except OSError as error:
        _forget(record, made.path)
        hint = f"remove {made.file}"
        raise Failed.of(error, f"{made.file}: cannot be masked by {made.path}", hint) from error


def unmask(paths: Paths, made: Masked) -> None:
    """Take a mask away; a directory that somebody has filled meanwhile is not one any more."""
    with Failed.on_oserror(f"{made.path}: cannot be removed", "look at the file system"):
        if _is_empty_directory(made.path):
            made.path.rmdir()
            sync_directory(made.path.parent)
    _forget(_record_of(paths, made.path), made.path)


@contextmanager
def hidden(paths: Paths, systemd: int, extensions: Iterable[Unmanaged]) -> Iterator[None]:
    """Mask extensions for as long as a refresh takes; one in the directory of highest precedence cannot be."""
    try:
        for it in extensions:
            place = place_for(paths, it, systemd)
            if place and not place.exists():
                mask(paths, Masked(it.ident, place, it.path, None))
        yield
    finally:
        unhide(paths)


def unhide(paths: Paths) -> None:
    """Take the masks away that were to last for a refresh, those of a run that was killed, too."""
    for it in _all_recorded(paths):
        if it.reason is None:
            with suppress(Failed):  # the next refresh tries again
                unmask(paths, it)


def _record_of(paths: Paths, path: Path) -> Path:
    """Where a mask is recorded: for as long as its directory lasts."""
    return paths.masks if path.is_relative_to(paths.under("/run")) else paths.lasting_masks


def _forget(record: Path, path: Path) -> None:
    _record(record, [it for it in _recorded(record) if it.path != path])


def _record(record: Path, masks: list[Masked]) -> None:
    if masks or record.exists():
        write_json(record, [[*it.ident, str(it.path), str(it.file), it.reason] for it in masks])


def _all_recorded(paths: Paths) -> list[Masked]:
    return [*_recorded(paths.masks), *_recorded(paths.lasting_masks)]


def _recorded(record: Path) -> list[Masked]:
    """What is not as we write it is none of ours."""
    document = read_json(record)
    return [mask for item in document if (mask := _parsed(item))] if isinstance(document, list) else []


def _parsed(item: Any) -> Masked | None:  # noqa: ANN401 - JSON
    match item:
        case [str(name), str(kind), str(path), str(file), str() | None as reason] if kind in set(Kind):
            return Masked(ExtensionId(name, Kind(kind)), Path(path), Path(file), reason)
        case _:
            return None


def _is_empty_directory(path: Path) -> bool:
    try:
        return not path.is_symlink() and not any(path.iterdir())
    except OSError:
        return False
