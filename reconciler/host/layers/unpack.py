"""Unpack an image's layers into one tree (OCI image-spec 1.1, layer.md).

Each layer is read once: the blob's digest, decompression, the tar's digest and unpacking happen in one stream, so
what is checked is what was unpacked. Nothing is trusted before the digests have been compared, which is why the tree
must be a private one that is thrown away on any error.

Decisions where the specification leaves room:

- A directory member merges with a directory and replaces anything else, a symbolic link to a directory too, as
  containerd, Docker and umoci have it.
- Parents in a name may be symbolic links; they are followed as in a chroot to the image's root, but never above it.
- A parent that no layer describes is 0755 root:root with a modification time of 0; an existing one keeps its time.
- Names are 256 directories deep at most.
- Devices and FIFOs are refused where no higher layer removes them, unknown types always; sockets cannot be in an
  archive. Of a name that occurs twice the last one counts.
- Hard links take what their target has when they are read; owner, mode and times of the link's header are ignored.
- The root's own entry sets its time and, within limits, its mode; the owner of the root is the store's.
- A symbolic link of a lower layer that this layer has gone through cannot be replaced or removed by it any more: the
  result would depend on the order of the members, which the specification gives no meaning.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed
from reconciler.host.base.walk import mode_of
from reconciler.host.layers import whiteouts
from reconciler.host.layers.budget import Budget
from reconciler.host.layers.readlayer import opened
from reconciler.host.layers.staging import Staging
from reconciler.host.tar.attributes import set_attributes, set_link_attributes
from reconciler.host.tar.decompress import Refused, shown
from reconciler.model.content.limits import Limits
from reconciler.model.fit.filekind import FileKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.host.layers.arrival import Blobs
    from reconciler.host.layers.readlayer import LayerReader
    from reconciler.host.tar.decompress import Content
    from reconciler.host.tar.reader import Member
    from reconciler.model.content.ociread import Layer

_NEW_FILE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
# These say something about the content, not about this node.
_CONTENT_ERRORS: Final = {
    errno.ENAMETOOLONG: "has a name or link that is too long",
    errno.EFBIG: "is too large",
    errno.EMLINK: "is one more hard link to one file than the store's file system allows",
}
_HINTS: Final = {
    errno.ENOSPC: "free space on the store's file system, or list fewer extensions",
    errno.EDQUOT: "raise the quota of the store's file system",
    errno.EROFS: "make the store's file system writable",
    **dict.fromkeys((errno.EACCES, errno.EPERM), "livelayer unpacks images as root"),
}
_DEFAULTS: Final = Limits()


def unpack(layers: Sequence[Layer], blob_of: Blobs, target: Path, limits: Limits = _DEFAULTS) -> None:
    """Apply layers, lowest first, into the empty existing directory `target`.

    After an error the content of `target` is garbage, for the caller to delete. Nothing is synced.
    """
    try:
        budget = Budget(limits)
        tree = Staging(target, budget.name)
        for layer in layers:
            tree.begin_layer()
            with opened(layer, blob_of(layer.digest), budget) as reader:
                _unpack(reader, tree, f"layer {layer.digest}")
        for error in tree.specials.values():
            raise error
        tree.finish()
    except OSError as error:
        raise _failed(str(target), error) from error


def _unpack(reader: LayerReader, tree: Staging, where: str) -> None:
    for member in reader:
        try:
            _place(member, tree, reader)
        except OSError as error:
            if reason := _CONTENT_ERRORS.get(error.errno or 0):
                raise Refused(reason) from error
            raise _failed(f"{where}: {shown(member.name)}", error) from error


def _place(member: Member, tree: Staging, reader: LayerReader) -> None:
    if whiteouts.PREFIX in member.name and whiteouts.carry_out(member.name, tree):
        return
    path = tree.place(member.name)
    if path == tree.root:
        if member.kind is not FileKind.DIRECTORY:
            raise Refused(f"is a {member.kind.noun} in place of the image's root")
        tree.set_root(member.mode, member.mtime_ns)
        return
    if tree.written.get(path) is False and stat.S_ISLNK(mode_of(path)):
        raise Refused("replaces a symbolic link through which its own layer has written before")
    match member.kind:
        case FileKind.DIRECTORY:
            _directory(path, member, tree)
        case FileKind.FILE:
            _file(path, member, tree, reader.content)
        case FileKind.SYMLINK:
            _symlink(path, member, tree)
        case FileKind.HARD_LINK:
            _hard_link(path, member, tree)
        case FileKind.SPECIAL:
            tree.create(path, lambda new: os.close(os.open(new, _NEW_FILE, 0o600)))
            tree.specials[path] = reader.refused_special(member)
    tree.mark(path, own=True)


def _directory(path: bytes, member: Member, tree: Staging) -> None:
    descriptor = tree.make_directory(path)
    try:
        set_attributes(descriptor, member)
    finally:
        os.close(descriptor)
    if member.mode & stat.S_ISGID or member.xattrs:
        tree.expect_inheritance()
    tree.set_time(path, member.mtime_ns)


def _file(path: bytes, member: Member, tree: Staging, content: Content) -> None:
    given = tree.gives(member.uid, member.gid, member.mode)
    mode = member.mode if given else 0o600
    descriptor = tree.create(path, lambda new: os.open(new, _NEW_FILE, mode))
    try:
        _fill(descriptor, member, content)
        if member.xattrs or not given:
            set_attributes(descriptor, member)
        os.utime(descriptor, ns=(member.mtime_ns, member.mtime_ns))
    finally:
        os.close(descriptor)


def _fill(descriptor: int, member: Member, content: Content) -> None:
    if member.sparse is None:
        _copy(descriptor, member.size, content)
        return
    for offset, length in member.sparse.segments:
        os.lseek(descriptor, offset, os.SEEK_SET)
        _copy(descriptor, length, content)
    os.ftruncate(descriptor, member.sparse.size)


def _copy(descriptor: int, size: int, content: Content) -> None:
    for chunk in content.chunks(size):
        rest = chunk
        while rest:  # a disk that fills up takes a part first
            rest = rest[os.write(descriptor, rest) :]


def _symlink(path: bytes, member: Member, tree: Staging) -> None:
    """The target is kept as it is: it is data here, and is resolved only where it stands in a parent's place."""
    if not member.link or b"\0" in member.link:
        raise Refused("is a symbolic link with an unusable target")
    tree.create(path, lambda new: os.symlink(member.link, new))  # noqa: PTH211 - paths are bytes here
    set_link_attributes(path, member)


def _hard_link(path: bytes, member: Member, tree: Staging) -> None:
    source = _link_source(path, member.link, tree)
    # Of a symbolic link, the link itself gets another name.
    tree.create(path, lambda new: os.link(source, new, follow_symlinks=False))
    if source in tree.specials:
        tree.specials[path] = tree.specials[source]


def _link_source(path: bytes, link: bytes, tree: Staging) -> bytes:
    """The existing file that a hard link names, from the image's root with or without a leading slash."""
    try:
        source = tree.find(link.lstrip(b"/"))
    except Refused as error:
        raise Refused(f"is a hard link to {shown(link)}: {error}") from error
    mode = 0 if source is None else mode_of(source)
    if source is None or not mode:
        raise Refused(f"is a hard link to {shown(link)}, which is not in the image, or not yet")
    if stat.S_ISDIR(mode):
        raise Refused(f"is a hard link to {shown(link)}, which is a directory")
    if source == path or source.startswith(path + b"/"):
        raise Refused(f"is a hard link to {shown(link)}, which it replaces")
    return source


def _failed(what: str, error: OSError) -> Failed:
    hint = _HINTS.get(error.errno or 0, "look at the store's file system and its disk")
    return Failed.of(error, f"{what}: cannot be unpacked", hint)
