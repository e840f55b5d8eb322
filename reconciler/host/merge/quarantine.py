"""Masks: empty directories by which livelayer hides a bad extension of others from systemd.

The first search directory that has a name wins, and a directory without a release file is ignored, so an empty one
hides whatever has its name in those of lower precedence (measured on systemd 252, 257 and 262). A record tells them
from empty directories of others; it is written first, so that no mask is ever left without one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.errors import Failed
from reconciler.host.base.durable import make_directory, read_json, sync_directory, write_json
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.state.observed import Masked

if TYPE_CHECKING:
    from reconciler.model.plan.action import Mask, Unmask
    from reconciler.model.state.observed import Unmanaged
    from reconciler.paths import Paths


def read_masks(paths: Paths) -> tuple[Masked, ...]:
    """The masks that livelayer made and that are still what it made."""
    records = (paths.masks, paths.lasting_masks)
    return tuple(mask for record in records for mask in _recorded(record) if _is_empty_directory(mask.path))


def place_for(paths: Paths, item: Unmanaged, systemd: int) -> Path | None:
    """Where a mask hides an extension: where a boot forgets it, if that is of higher precedence; None: nowhere.

    What kairos-agent manages is not touched.
    """
    directories = paths.search_dirs(item.kind, systemd)
    if item.agent or item.path.parent not in directories:
        return None
    higher = directories[: directories.index(item.path.parent)]
    volatile = [it for it in higher if it.is_relative_to(paths.under("/run"))]
    place = next((it / item.name for it in (*volatile, *reversed(higher))), None)
    return None if place is None or (os.path.lexists(place) and not _is_empty_directory(place)) else place


def mask(paths: Paths, action: Mask) -> None:
    """Hide a bad extension.

    Raises:
        Failed: something of that name is there by now, or the file system refuses.
    """
    made = Masked(action.ident, action.path, action.file, action.flaw)
    record = _record_of(paths, action.path)
    _record(record, [*(it for it in _recorded(record) if it.path != made.path), made])
    try:
        make_directory(action.path.parent)
        action.path.mkdir(mode=0o755)
        sync_directory(action.path.parent)
    except OSError as error:
        _forget(record, action.path)
        hint = f"remove {action.file}"
        raise Failed(f"{action.file}: cannot be masked by {action.path}: {error.strerror}", hint) from error


def unmask(paths: Paths, action: Unmask) -> None:
    """Take a mask away; a directory that somebody has filled meanwhile is not one any more.

    Raises:
        Failed: the file system refuses.
    """
    try:
        if _is_empty_directory(action.path):
            action.path.rmdir()
            sync_directory(action.path.parent)
    except OSError as error:
        raise Failed(f"{action.path}: cannot be removed: {error.strerror}", "look at the file system") from error
    _forget(_record_of(paths, action.path), action.path)


def _record_of(paths: Paths, path: Path) -> Path:
    """Where a mask is recorded: for as long as it lasts."""
    return paths.masks if path.is_relative_to(paths.under("/run")) else paths.lasting_masks


def _forget(record: Path, path: Path) -> None:
    _record(record, [it for it in _recorded(record) if it.path != path])


def _record(record: Path, masks: list[Masked]) -> None:
    if masks or record.exists():
        write_json(record, [[*it.ident, str(it.path), str(it.file), it.reason] for it in masks])


def _recorded(record: Path) -> list[Masked]:
    """What is not as we write it is none of ours."""
    match read_json(record):
        case [*items]:
            return [mask for item in items if (mask := _parsed(item))]
        case _:
            return []


def _parsed(item: Any) -> Masked | None:  # noqa: ANN401 - JSON
    match item:
        case [str(name), str(kind), str(path), str(file), str(reason)] if kind in set(Kind):
            return Masked(ExtensionId(name, Kind(kind)), Path(path), Path(file), reason)
        case _:
            return None


def _is_empty_directory(path: Path) -> bool:
    try:
        return not path.is_symlink() and not any(path.iterdir())
    except OSError:
        return False
