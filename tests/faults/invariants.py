"""What must hold on a node at any instant, looked at from outside: none of livelayer's own code is asked.

Paths are those of the node as they lie here: below the root of its mount namespace, or below the mount point of its
disk. Every function returns what is wrong, a sentence each; nothing: all is well.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path

Contents: TypeAlias = Mapping[str, str]
"""Entries of the store by file name, with the fingerprint that each has when it is complete."""
Versions: TypeAlias = Mapping[str, tuple[Mapping[str, str], ...]]
"""Extensions by name, with the files (path below /usr, content) of each version that there is."""

_ENTRY: Final = re.compile(r"[0-9a-f]{64}\.(directory|squashfs|erofs|raw)(\+.*)?")
# Beside the links: the lock files of systemd-sysext, and a link that is not in its place yet; systemd merges neither.
_NO_IMAGE: Final = re.compile(r"\.#.*\.(lck|livelayer)")
_LEFTOVER: Final = re.compile(r"\..*\.[0-9]+")  # a file that was to replace another when the run was killed
_STATE: Final = "var/lib/livelayer"
_RECORD: Final = ".systemd-sysext/extensions"


def fingerprint(path: Path) -> str:
    """Of a file or a tree: names, types, modes, owners, targets, contents; no times of directories."""
    found = hashlib.sha256()
    for item in (path, *sorted(path.rglob("*"))) if path.is_dir() and not path.is_symlink() else (path,):
        status = item.lstat()
        where = item.relative_to(path)
        found.update(f"{where}\0{status.st_mode:o} {status.st_uid} {status.st_gid}\0".encode())
        if stat.S_ISLNK(status.st_mode):
            found.update(os.readlink(item).encode())
        elif stat.S_ISREG(status.st_mode):
            found.update(item.read_bytes())
    return found.hexdigest()


def entries(state: Path) -> dict[str, str]:
    """The entries of a store with their fingerprints."""
    return {path.name: fingerprint(path) for path in _children(state / "store/sha256") if _ENTRY.fullmatch(path.name)}


def store_faults(state: Path, complete: Contents) -> Iterator[str]:
    """Each entry is complete or absent; nothing else but records and their leftovers lies beside them."""
    for path in _children(state / "store/sha256"):
        if path.name in complete:
            if fingerprint(path) != complete[path.name]:
                yield f"{path}: not complete"
        elif path.suffix != ".json" and not _LEFTOVER.fullmatch(path.name):
            yield f"{path}: not an entry that there could be"


def record_faults(state: Path) -> Iterator[str]:
    """Every record is a JSON document, whole."""
    for directory in (state, state / "store/sha256", state / "file-lists", state / "catalogs"):
        for path in directory.glob("*.json"):
            try:
                json.loads(path.read_bytes())
            except (ValueError, RecursionError) as error:
                yield f"{path}: {error}"


def link_faults(links: Path, complete: Contents) -> Iterator[str]:
    """A search directory holds links to complete entries, and nothing else."""
    for path in _children(links):
        if _NO_IMAGE.fullmatch(path.name):
            continue
        if not path.is_symlink():
            yield f"{path}: no link"
            continue
        target = path.parent / os.readlink(path)  # relative, so it holds below another root as well
        if target.name not in complete or not target.exists():
            yield f"{path}: leads to {target.name}, which is no complete entry"
        elif (path.suffix == ".raw") != target.is_file():
            yield f"{path}: leads to an entry of another form"


def overlay_faults(root: Path, versions: Versions) -> Iterator[str]:
    """Every extension that /usr shows is there whole, in one version; what it does not show is not there at all."""
    shown = merged(root)
    for name, candidates in versions.items():
        present = {file: path.read_text() for file in _files(candidates) if (path := root / "usr" / file).exists()}
        if name not in shown and present:
            yield f"/usr has {sorted(present)} of {name}, which is not merged"
        if name in shown and present not in candidates:
            yield f"/usr has {sorted(present)} of {name}, which is no version of it"


def merged(root: Path) -> frozenset[str]:
    """The names of the extensions that are merged onto /usr."""
    try:
        return frozenset((root / "usr" / _RECORD).read_text().split())
    except FileNotFoundError:
        return frozenset()


def faults(root: Path, complete: Contents, versions: Versions) -> list[str]:
    """All of the above."""
    links, state = root / "var/lib/extensions", root / _STATE
    found = [*link_faults(links, complete), *overlay_faults(root, versions)]
    return [*found, *store_faults(state, complete), *record_faults(state)]


def leftovers(root: Path) -> list[str]:
    """What a killed run leaves and the next one takes away."""
    state = root / _STATE
    directories = [root / "run/livelayer", root / "run/livelayer/state", state, state / "store/sha256"]
    directories += [state / name for name in ("file-lists", "generations", "manifests", "images", "transfers")]
    found = [path for directory in directories for path in _children(directory) if _LEFTOVER.fullmatch(path.name)]
    found += list(_children(state / "staging"))
    found += [path for path in _children(root / "var/lib/extensions") if path.name.endswith(".livelayer")]
    return [str(path) for path in (*found, *(root / "run/livelayer/state").glob("refresh-owed-*"))]


def _files(candidates: tuple[Mapping[str, str], ...]) -> list[str]:
    return sorted({file for candidate in candidates for file in candidate})


def _children(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
