"""What of a source may be in an extension, and why the rest is left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.errors import Invalid
from reconciler.model.build.assembly import DIRECTORY, Assembly, Item
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.permissions import is_usual
from reconciler.model.kind import RELEASE_PREFIX, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping


# Directories that are links into /usr on every host that has extensions.
_MERGED: Final = frozenset({b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32"})
_OS_RELEASES: Final = (b"usr/lib/os-release", b"etc/os-release")  # the second is mostly a link to the first
_RUNNING: Final = "it belongs to a running system"
_USERS: Final = "it belongs to users"
_TOPS: Final = {
    b"etc": "a system extension does not carry /etc; a configuration extension does: --kind confext",
    b"var": "the state of a machine is no part of an extension",
    b"boot": "an extension is merged after the boot",
    **dict.fromkeys((b"run", b"tmp", b"proc", b"sys", b"dev", b"mnt", b"media", b".dockerenv"), _RUNNING),
    **dict.fromkeys((b"home", b"root", b"srv"), _USERS),
}
_PACKAGES: Final = "the package database of its source would hide the host's"
_ACCOUNTS: Final = "it would hide the host's accounts"
_IDENTITY: Final = "it would hide what the host is"
_ACCOUNT_FILES: Final = (b"passwd", b"group", b"shadow", b"gshadow", b"subuid", b"subgid")
# Below /usr and below /etc: names, with all beneath them.
_NAMES: Final[Mapping[bytes, str]] = {
    b"usr/lib/os-release": "systemd refuses every extension that has it",
    **dict.fromkeys((b"usr/lib/sysimage", b"usr/share/rpm", b"usr/lib/apk/db"), _PACKAGES),
    **dict.fromkeys((b"etc/os-release", b"etc/machine-id"), _IDENTITY),
    **dict.fromkeys((b"etc/" + name for name in _ACCOUNT_FILES), _ACCOUNTS),
    **dict.fromkeys((b"etc/" + name + b"-" for name in _ACCOUNT_FILES), _ACCOUNTS),
    b"etc/.pwd.lock": _ACCOUNTS,
    **dict.fromkeys((b"etc/mtab", b"etc/.updated", b"etc/ld.so.cache"), "it says something of the host alone"),
}


class Dropped(NamedTuple):
    """A file or link of a source that is not in the extension."""

    path: bytes
    reason: str


class Screened(NamedTuple):
    """A source, sorted out."""

    kept: Assembly
    dropped: tuple[Dropped, ...]
    releases: Mapping[str, Item]  # its extension-release files, by the name they are for; not among those kept


def screen(source: Assembly, kind: Kind) -> Screened:
    """Leave out what an extension of this kind must not have. A directory is told by what is in it."""
    kept, dropped, releases = Assembly(), [], {}
    prefix = f"{kind.traits.releases}/{RELEASE_PREFIX}".encode()
    for name, item in source:
        if name.startswith(prefix) and item.kind is FileKind.FILE:
            releases[name.removeprefix(prefix).decode(errors="replace")] = item
        elif reason := _reason(name, kind):
            dropped += [] if item.is_directory else [Dropped(name, reason)]
        elif item.kind is FileKind.SPECIAL:
            hint = "leave devices, FIFOs and sockets out of the extension"
            raise Invalid(f"/{name.decode(errors='replace')} is neither a file, a link nor a directory", hint)
        else:
            kept.put(name, item)
    return Screened(kept, tuple(dropped), releases)


def _reason(name: bytes, kind: Kind) -> str | None:
    """Why something must not be in an extension of this kind."""
    parts = name.split(b"/")
    if parts[0].decode(errors="replace") not in kind.traits.tops:
        return _TOPS.get(parts[0], kind.carries) if kind is Kind.SYSEXT else kind.carries
    names = (b"/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
    return next((_NAMES[it] for it in names if it in _NAMES), None)


def merge_usr(source: Assembly) -> tuple[Assembly, int]:
    """A source as it lies on hosts where /bin is /usr/bin, and how many files have moved for that."""
    merged, apart = Assembly(), []
    for name, item in source:
        top = name.partition(b"/")[0]
        if top not in _MERGED:
            merged.put(name, item)
        elif item.is_directory or name != top:
            apart.append((name, item))
    for name, item in apart:
        _put_in_usr(merged, name, item)
    return merged, sum(not item.is_directory for _, item in apart)


def _put_in_usr(merged: Assembly, name: bytes, item: Item) -> None:
    place = b"usr/" + name
    there = merged.get(place)
    if there is None or (there.kind is FileKind.SYMLINK and not item.is_directory):
        merged.put(place, item)
    elif FileKind.FILE in {there.kind, item.kind} and item.kind is not FileKind.SYMLINK and there is not item:
        names = " and ".join(f"/{it.decode(errors='replace')}" for it in (name, place))
        raise Invalid(f"{names} are two files, which would be one in an extension", "leave out one of them")


def opened_up(content: Assembly) -> tuple[Assembly, int]:
    """With root's and everybody's directories where every host has them, and how many were otherwise.

    In a merged extension they are the host's: one that was made with another umask would lock all users out.
    """
    found, changed = Assembly(), 0
    for name, item in content:
        usual = replace(item, mode=DIRECTORY.mode, uid=0, gid=0)
        is_meant = item.is_directory and is_usual(name.decode(errors="replace"))
        changed += is_meant and (item.mode, item.uid, item.gid) != (usual.mode, 0, 0)
        found.put(name, usual if is_meant else item)
    return found, changed


def os_release_in(source: Assembly) -> Item | None:
    """The file that says which system a source is; None: it is none."""
    found = (source.get(name) for name in _OS_RELEASES)
    return next((it for it in found if it and it.kind is FileKind.FILE), None)
