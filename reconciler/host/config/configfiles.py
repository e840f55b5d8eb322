"""Which files make up the configuration, by systemd's rules; cheap, since it is asked at the end of every run.

None of them comes with an extension: those of the host are looked for below what is merged.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, Mistake, file_of
from reconciler.host.base.bounded import is_null
from reconciler.host.base.onhost import on_host
from reconciler.host.base.walk import children

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.paths import Paths

_NULL: Final = Path("/dev/null")
Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Files:
    """The files that make up the configuration, lowest first, and what was left out."""

    paths: tuple[Path, ...]
    names: tuple[Path, ...] = ()  # the same by which they were found, before links of another root were followed
    warnings: tuple[str, ...] = ()


def fingerprint(paths: Paths, config: Path | None = None) -> Fingerprint:
    """What changes when any file of the configuration is saved, added or removed."""
    try:
        return on_host(lambda: fingerprint_of(find_files(paths, config).paths), places_of(paths, config))
    except Invalid:
        return ()


def fingerprint_of(files: Iterable[Path]) -> Fingerprint:
    """What changes when one of these files is saved, or their list changes."""
    return tuple(map(_identity, files))


def places_of(paths: Paths, config: Path | None = None) -> tuple[Path, ...]:
    """Where the files can be; on another system nothing is merged."""
    mains = (config,) if config else paths.main_files
    return (*mains, *paths.dropin_dirs) if paths.is_running_system else ()


def find_files(paths: Paths, config: Path | None = None) -> Files:
    """The main file and the drop-ins that apply, by systemd's rules of precedence and masking."""
    if config is not None and not config.exists():
        raise Mistake(f"{config}: no such file", "check the path given to --config")
    mains = (config.absolute(),) if config else paths.main_files
    main = [path for path in mains if os.path.lexists(_found_at(path, paths))][:1]
    try:
        dropins, ignored = _dropins(paths)
    except OSError as error:
        what = f"{file_of(error, 'the configuration')}: cannot be read"
        raise Invalid.of(error, what, "look at its mode and its disk") from error
    warnings = tuple(f"{path}: ignored, a drop-in's name ends in .yaml" for path in ignored)
    names = (*main, *dropins)
    return Files(tuple(map(paths.followed, names)), names, warnings)


def _found_at(path: Path, paths: Paths) -> Path:
    """Where a name is, which may be a symlink itself."""
    return paths.followed(path.parent) / path.name


def _dropins(paths: Paths) -> tuple[list[Path], list[Path]]:
    found: dict[str, Path] = {}
    ignored: list[Path] = []
    for directory in paths.dropin_dirs:
        for path in (directory / it.name for it in children(paths.followed(directory))):
            if path.name.endswith(".yaml") and not path.name.startswith("."):
                found.setdefault(path.name, path)
            elif path.name.endswith((".yml", ".json")):
                ignored.append(path)
    return [found[name] for name in sorted(found) if not _masks(found[name], paths)], ignored


def _masks(name: Path, paths: Paths) -> bool:
    """An empty file or a link to /dev/null takes the place of a lower file and says nothing itself."""
    try:
        link = _found_at(name, paths)
        if link.is_symlink() and link.readlink() == _NULL:  # which no other root needs to have
            return True
        found = paths.followed(name).stat()
    except OSError:
        return False  # a dangling link is a mistake that reading will report
    return is_null(found) or (stat.S_ISREG(found.st_mode) and found.st_size == 0)


def _identity(path: Path) -> tuple[str, int, int, int]:
    try:
        found = path.stat()
    except OSError:
        return str(path), 0, 0, 0
    return str(path), found.st_ino, found.st_size, found.st_ctime_ns
