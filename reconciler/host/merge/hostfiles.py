"""What this host has where an extension would put its files, also while extensions cover it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, Protocol

from reconciler.host.base.command import run
from reconciler.host.merge.overlay import read_hierarchies
from reconciler.model.facts.extensionfacts import ExtensionFacts, FileKind, HostFacts, host_paths
from reconciler.model.fit.filetree import printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.model.kind import Kind
    from reconciler.paths import Paths

_TIMEOUT: Final = 120.0  # seconds
_MAX_LISTING: Final = 512 << 20  # bytes, of a whole operating system
_RECORDS: Final = ("/usr/lib/extension-release.d/", "/etc/extension-release.d/")
# In a namespace of its own, the overlays are taken away and what they cover is listed: kind and path.
_BELOW: Final = 'for place; do umount --lazy "$place" || exit 1; done; exec find "$@" -xdev -printf "%y%p\\0"'
_SYMLINK: Final = "l"
_OWN: Final = 'umount --lazy "$1" || exit; if test -e "$2" || test -L "$2"; then echo yes; else echo no; fi'


class _View(Protocol):
    """What is at an absolute path: find's letter for its kind, empty where nothing is."""

    def __call__(self, path: str, /) -> str: ...


def look_at_host(facts: ExtensionFacts, paths: Paths) -> HostFacts:
    """What the host below a root has of what the extension needs, and what of it the extension would hide.

    Raises:
        Unavailable: listing what lies below merged extensions took too long.
    """
    has = frozenset(path for path in host_paths(facts) if os.path.exists(paths.under(path)))  # noqa: PTH110 - no object for each
    view = _view(facts, paths)
    if view is None:
        return HostFacts(has)
    links = tuple(
        f"/{path}"
        for path, _ in facts.of_kind(FileKind.DIRECTORY)
        if facts.covers(path) and view(f"/{path}") == _SYMLINK
    )
    below = tuple(f"{link}/" for link in links)
    hidden = tuple(path for path in _hidden(facts, view) if not path.startswith(below))
    return HostFacts(has, hidden, links, is_known=True)


def host_has(path: str, kind: Kind) -> bool | None:
    """Whether the running host has an absolute path, merged extensions aside; None: this process may not tell."""
    covering = [place for place in read_hierarchies(kind) if f"{path}/".startswith(f"{place}/")]
    if not covering:
        return os.path.lexists(path)
    done = run("unshare", "--mount", "sh", "-c", _OWN, "sh", covering[0], path, timeout=_TIMEOUT)
    return {b"yes": True, b"no": False}.get(done.stdout.strip())


def _hidden(facts: ExtensionFacts, view: _View) -> Iterator[str]:
    """What the host has where the extension has something else than a directory."""
    for path, file in facts.files.items():
        place = f"/{path}"
        is_own = file.kind is FileKind.DIRECTORY or place.startswith(_RECORDS) or not facts.covers(path)
        if not is_own and view(place):
            yield place


def _view(facts: ExtensionFacts, paths: Paths) -> _View | None:
    """None: extensions are merged, and this process may not look below them."""
    merged = read_hierarchies(facts.kind) if paths.is_running_system else []
    if not merged:
        return lambda path: _letter(paths.name_under(path))
    below = _list_below(merged)
    if below is None:
        return None
    tops = tuple(f"{place}/" for place in merged)
    return lambda path: below.get(path, "") if path.startswith(tops) else _letter(paths.name_under(path))


def _letter(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return ""
    return _SYMLINK if stat.S_ISLNK(mode) else "d" if stat.S_ISDIR(mode) else "f"


def _list_below(hierarchies: list[str]) -> dict[str, str] | None:
    done = run("unshare", "--mount", "sh", "-c", _BELOW, "sh", *hierarchies, timeout=_TIMEOUT, most=_MAX_LISTING)
    if done.status != 0 or not done.complete:
        return None
    return {printable(entry[1:]): chr(entry[0]) for entry in done.stdout.split(b"\0")[:-1]}
