"""Every file of an image file: by streaming it as a tar archive, or by unpacking it where nothing better is here.

What has all attributes and takes neither root nor space comes first: sqfs2tar for squashfs. Others are mounted by the
kernel, in a mount namespace of their own, which nothing outlives, and read by tar. Where nothing can be mounted, the
tools of squashfs and erofs unpack into a scratch directory and lose some attributes.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

from reconciler.errors import Failed, Invalid, Malformed
from reconciler.host.base import termination
from reconciler.host.base.command import Finished, available, drain, path_of, run
from reconciler.host.images import dissect
from reconciler.host.images.facts import Listing
from reconciler.host.images.rawfile import volume_file
from reconciler.host.layers.budget import ALLOW_SETUID, Budget, Exceeded
from reconciler.host.tar.decompress import Blob, Content, Refused, shown
from reconciler.host.tar.reader import members
from reconciler.model.content.limits import DEFAULT
from reconciler.model.facts.extensionfacts import SETGID, SETUID
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.filetree import unreadable
from reconciler.model.images.imageformat import FileSystem, Top
from reconciler.paths import SCRATCH

if TYPE_CHECKING:
    from reconciler.model.content.limits import Limits
    from reconciler.model.facts.extensionfacts import File
    from reconciler.model.images.imageformat import ImageFormat

_SQUASHFS: Final = "sqfs2tar"
_TIMEOUT: Final = 1800.0  # seconds
_ATTEMPT: Final = 60.0
_COMPLAINTS: Final = 1 << 16  # bytes
_SKIPPED: Final = ("Not allowed to skip files", "socket ignored")
_REBUILD: Final = "build the image without it"
_TAR: Final = (
    'tar --create --file=- --format=posix --xattrs --xattrs-include="*" --numeric-owner --one-file-system'
    ' --sort=name --directory="$1" .'
)


class Known(NamedTuple):
    """What the way that was taken tells truly."""

    owners: bool = True
    attributes: bool = True


def list_image(file: Path, image: ImageFormat, listing: Listing, workplace: Path, limits: Limits) -> Known:
    """Note every file of an image that was found to be whole; the caller removes `workplace`."""
    known = Known()
    budget = Budget(limits)
    for volume in image.volumes:
        if volume.top is Top.USR:
            listing.drop_below(b"usr")
        bare = volume_file(file, volume, workplace)
        reader = _Reader(bare, listing, b"usr" if volume.top is Top.USR else b"", budget, workplace, limits)
        found = reader.read(volume.file_system)
        known = Known(known.owners and found.owners, known.attributes and found.attributes)
    return known


def files_of(file: Path, image: ImageFormat) -> tuple[dict[str, File], Known]:
    """Every file of an image of the store, by path, and what is known of them."""
    listing = Listing()
    with tempfile.TemporaryDirectory(prefix="livelayer-", dir=SCRATCH) as workplace:
        known = list_image(file, image, listing, Path(workplace), DEFAULT)
    return listing.files(), known


def screen(file: Path, image: ImageFormat, workplace: Path, limits: Limits) -> dict[str, File]:
    """Every file of an image that is to be merged as it is, by path: it must have what layers may have, and no more.

    A device 0:0 or an attribute of overlayfs, for two, would let files of the host vanish.
    """
    listing = Listing()
    known = list_image(file, image, listing, workplace, limits)
    files = listing.files()
    for path, it in files.items():
        if reason := _flaw(it, limits):
            raise Invalid(f"the image: {path} {reason[0]}", reason[1], code=reason[2])
    if not known.attributes:
        what = "what attributes the image's files have cannot be told on this node"
        hint = "let livelayer run as root with a loop device, and load the kernel module of the image's file system"
        if FileSystem.SQUASHFS in {it.file_system for it in image.volumes}:
            hint += ", or install squashfs-tools-ng"
        raise Failed(what, hint, code="program.missing")
    return files


def _flaw(file: File, limits: Limits) -> tuple[str, str, str] | None:
    """What keeps a file out, what to do, and the code of it; while an image is streamed, some of it ends that."""
    if file.kind is FileKind.SPECIAL:
        return "is a device, a FIFO or a socket, which no extension may contain", _REBUILD, "content.special-file"
    if file.steers_overlay:
        return "has an extended attribute of overlayfs, which would change the overlay", _REBUILD, "content.attribute"
    is_setuid = file.kind is FileKind.FILE and file.mode & (SETUID | SETGID)
    if not limits.setuid and (is_setuid or file.has_capabilities):
        what = "is setuid, setgid or has capabilities, which this node does not allow"
        return what, ALLOW_SETUID, "limit.setuid"
    return None


class _Reader(NamedTuple):
    """One file system, and where what is in it goes."""

    file: Path  # nothing but the file system
    listing: Listing
    below: bytes
    budget: Budget
    workplace: Path
    limits: Limits

    def read(self, file_system: FileSystem) -> Known:
        if file_system is FileSystem.SQUASHFS and available(_SQUASHFS):
            self._stream(file_system, _SQUASHFS, "--no-skip", "--root-becomes", ".", str(self.file))
            return Known()
        obstacle = dissect.obstacle("unshare", "mount", "tar") or self._failure_to_mount(file_system)
        if obstacle is None:
            self._stream(file_system, *self._mounting(file_system, _TAR))
            return Known()
        return self._unpack(file_system, obstacle)

    def _failure_to_mount(self, file_system: FileSystem) -> tuple[str, str] | None:
        done = run(*self._mounting(file_system, dissect.NOTHING), timeout=_ATTEMPT, most=_COMPLAINTS)
        return None if done.status == 0 else (done.complaint, "look whether this node's kernel has the file system")

    def _mounting(self, file_system: FileSystem, script: str) -> tuple[str, ...]:
        mount_point = self.workplace / "mounted"
        mount_point.mkdir(exist_ok=True)
        return dissect.mounting_alone(self.file, file_system, mount_point, script)

    def _stream(self, file_system: FileSystem, program: str, *arguments: str) -> None:
        def read(descriptor: int) -> None:
            with Blob(Path(f"/proc/self/fd/{descriptor}")) as blob:
                content = Content(blob)
                for member in members(content):
                    termination.check()
                    self.budget.member(member)
                    self.listing.take(member, content.chunks(member.size), self.below)

        try:
            done = drain(program, *arguments, read=read, timeout=_TIMEOUT)
        except Refused as error:
            hint = error.hint if isinstance(error, Exceeded) else _REBUILD
            where = f"{shown(error.member)}: " if error.member else ""
            raise Malformed(f"the image: {where}{error}", hint) from error
        if any(words in done.stderr for words in _SKIPPED):  # sqfs2tar fails at a socket, tar only says so
            words = "the image has a socket, which no extension may contain"
            raise Invalid(words, _REBUILD, code="content.special-file")
        _check(done, file_system)

    def _unpack(self, file_system: FileSystem, obstacle: tuple[str, str]) -> Known:
        target = self.workplace / f"unpacked{len(list(self.workplace.iterdir()))}"
        target.mkdir()
        _check(self._unpacked(file_system, target, obstacle), file_system)
        self.listing.walk(target, self.limits)
        return Known(owners=os.geteuid() == 0, attributes=False)

    def _unpacked(self, file_system: FileSystem, target: Path, obstacle: tuple[str, str]) -> Finished:
        match file_system:
            case FileSystem.SQUASHFS:
                return self._run("unsquashfs", "-no-progress", "-force", "-dest", str(target), str(self.file))
            case FileSystem.EROFS:
                return self._run(
                    "fsck.erofs", f"--extract={target}", "--preserve-perms", "--overwrite", str(self.file)
                )
            case FileSystem.EXT4 | FileSystem.BTRFS:
                words, hint = obstacle
                raise Failed(f"the {file_system} file system of the image cannot be looked into: {words}", hint)
        assert_never(file_system)

    def _run(self, program: str, *arguments: str) -> Finished:
        """No file may be larger than all may be together."""
        limited = ("prlimit", f"--fsize={self.limits.size}", path_of(program), *arguments)
        return run(*limited, timeout=_TIMEOUT, most=_COMPLAINTS)


def _check(done: Finished, file_system: FileSystem) -> None:
    if done.status != 0:
        raise unreadable(str(file_system), done.complaint)
