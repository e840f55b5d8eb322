"""Looks into image files by mounting them, where no tool reads them without that: systemd-dissect and find.

A file that is nothing but a file system needs no systemd-dissect, since mount(8) does it as well.

Each look is a process in a mount namespace of its own, so that nothing is left mounted whatever happens, and nobody
else sees it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, Malformed
from reconciler.host.base.command import Finished, available, run
from reconciler.host.base.command import script as script_of
from reconciler.host.node.loopdevices import loop_devices_available
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.filetree import FileTree, printable
from reconciler.model.images.imageformat import FileSystem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.model.kind import Kind

PROGRAM: Final = "systemd-dissect"
_TIMEOUT: Final = 120.0  # seconds
_MAX_LISTING: Final = 32 << 20  # bytes, of one directory
_PROGRAMS: Final = ("find", "cat", "tar")
_MOUNT: Final = 'systemd_dissect --mount --read-only "$0" "$1" >&2 && '
_MOUNT_ALONE: Final = 'mount -t "$3" -o "$4" "$0" "$1" >&2 && '
_OPTIONS: Final = "loop,ro,nosuid,nodev,noexec"
_PLAYS_BACK: Final = {FileSystem.EXT4: ",norecovery"}  # its journal, which nobody can write to here
_ELSE: Final = "or make a squashfs or erofs image"
NOTHING: Final = "exit 0"
_WALK: Final = 'find "$1" -xdev -printf ""'
_LIST: Final = 'find "$1/$2" -mindepth 1 -maxdepth 1 -printf "%y%f\\0"'
_XATTRS: Final = 'tar --create --file=- --format=posix --xattrs --xattrs-include="*" --directory="$1" -- "$2"'
_MAX_XATTRS: Final = 1 << 17  # bytes of an archive's beginning
# tar(5): an archive's first block, which is the header of the extended header if it has one
_BLOCK: Final = 512
_SIZE_AT: Final = slice(124, 135)
_TYPE_AT: Final = slice(156, 157)
_CAT: Final = 'cat "$1/$2"'
_USES: Final = {"sysext": "useSystemExtension", "confext": "useConfigurationExtension"}  # by kind
_NODES: Final = {b"f": FileKind.FILE, b"d": FileKind.DIRECTORY, b"l": FileKind.SYMLINK}


def obstacle(*programs: str) -> tuple[str, str] | None:
    """Why no image can be mounted here with these programs, and what to do about it; None: nothing is in the way."""
    if os.geteuid() != 0:
        return "only root may mount it", f"run it as root, {_ELSE}"
    missing = [program for program in programs or (PROGRAM, "unshare", "find") if not available(program)]
    if missing:
        package = "systemd-container" if PROGRAM in missing else missing[0]
        return f"{missing[0]} is not installed", f"install {package}, {_ELSE}"
    if not loop_devices_available():
        return "there is no loop device", f"load the kernel module loop, {_ELSE}"
    return None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What systemd makes of an image file, by the code with which it would merge it."""

    complaint: str | None = None  # it cannot be attached or mounted
    extends: bool | None = None  # it has a release file for its own name; None: not said
    has_os_release: bool = False  # in /etc or /usr/lib


def ask(file: Path, kind: Kind, policy: str | None) -> Verdict:
    """Let systemd look at an image file as it would before a merge, by its name; takes root and loop devices."""
    options = (f"--image-policy={policy}",) if policy else ()
    done = run(PROGRAM, "--json=short", *options, str(file), timeout=_TIMEOUT, most=_MAX_LISTING)
    if "unrecognized option" in done.stderr:  # it is of another version than systemd-sysext
        return Verdict()
    if done.status != 0:
        return Verdict(printable(done.complaint.encode())[:200])
    try:
        report = json.loads(done.stdout)
        # What it could not look into, such as an encrypted image, it only complains about.
        extends = None if done.stderr.strip() else report.get(_USES[kind])
        return Verdict(None, extends, bool(report.get("osRelease")))
    except (ValueError, AttributeError):
        return Verdict()


def mounting(file: Path, mount_point: Path, script: str, path: str = "") -> tuple[str, ...]:
    """The command for a shell script that sees the mounted image at `$1`, and a path as `$2`."""
    return (*_in_namespace(_MOUNT, PROGRAM, script), str(file), str(mount_point), path)


def mounting_alone(file: Path, kind: FileSystem, mount_point: Path, script: str) -> tuple[str, ...]:
    """The same for a file that is nothing but a file system, by the kernel's own driver and no helper of mount(8)."""
    options = f"{_OPTIONS}{_PLAYS_BACK.get(kind, '')}"
    return (*_in_namespace(_MOUNT_ALONE, "mount", script), str(file), str(mount_point), "", str(kind), options)


def _in_namespace(mount: str, mounts: str, script: str) -> tuple[str, ...]:
    programs = (mounts, *(it for it in _PROGRAMS if it in script))
    return ("unshare", "--mount", *script_of(mount + script, *programs))


class MountedTree(FileTree):
    """An image file of any format that systemd knows."""

    def __init__(self, file: Path, mount_point: Path) -> None:
        super().__init__()
        self._file = file
        self._mount_point = mount_point

    def check(self) -> str | None:
        """Walk through all of its inodes; returned is why it cannot be mounted, which may be this kernel's fault."""
        tried = self._start(NOTHING, "", 0)
        if tried.status != 0:
            return tried.complaint
        self._run(_WALK, "", 0)
        return None

    def listed(self, directory: str) -> Mapping[str, FileKind]:
        done = self._run(_LIST, directory, _MAX_LISTING)
        if not done.complete:
            raise _unreadable(f"its directory /{directory} has no end")
        entries = done.stdout.split(b"\0")[:-1]
        return {printable(entry[1:]): _NODES.get(entry[:1], FileKind.SPECIAL) for entry in entries}

    def read(self, path: str, most: int) -> bytes:
        return self._run(_CAT, path, most).stdout

    def xattr(self, path: str, name: str) -> bytes:
        """See FileTree. It is read from the header that tar writes for the file."""
        if not available("tar"):
            return b""
        archive = self._run(_XATTRS, path, _MAX_XATTRS).stdout
        header = archive[_BLOCK : _BLOCK + int(archive[_SIZE_AT], 8)] if archive[_TYPE_AT] == b"x" else b""
        return header.partition(f" SCHILY.xattr.{name}=".encode())[2].partition(b"\n")[0]

    def _start(self, script: str, path: str, most: int) -> Finished:
        return run(*mounting(self._file, self._mount_point, script, path), timeout=_TIMEOUT, most=most)

    def _run(self, script: str, path: str, most: int) -> Finished:
        done = self._start(script, path, most)
        if done.status != 0:
            raise _unreadable(done.complaint)
        return done


def _unreadable(complaint: str) -> Invalid:
    words = printable(complaint.encode())[:200]
    hint = "build or fetch the image again, and compare its digest with its publisher's"
    return Malformed(f"the image cannot be read by mounting it: {words}", hint)
