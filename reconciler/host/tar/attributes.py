"""Owner, mode, extended attributes and times of what a layer contains.

The order matters: changing the owner clears setuid bits and file capabilities, so it comes first.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, Invalid
from reconciler.host.base.walk import read_xattrs
from reconciler.host.tar.decompress import Refused, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.host.tar.reader import Member

# They would steer the overlay that the extension becomes a layer of: hide host files, redirect directories.
_USER_OVERLAY: Final = b"user.overlay."
OVERLAY: Final = (b"trusted.overlay.", _USER_OVERLAY)
_SYSTEM: Final = b"system."
_LISTS: Final = frozenset({b"system.posix_acl_access", b"system.posix_acl_default"})
_LINUX: Final = (b"user.", b"trusted.", b"security.", b"system.")
LABEL: Final = b"security.selinux"  # of the image; the host's policy labels its files
CAPABILITY: Final = b"security.capability"
_CONTENT_ERRORS: Final = {errno.EINVAL, errno.ERANGE, errno.E2BIG}
# ext4 has one block for all attributes of a file, and calls it ENOSPC when they do not fit.
_UNABLE: Final = {errno.ENOTSUP, errno.ENOSPC}


def own(descriptor: int, uid: int, gid: int, mode: int) -> None:
    os.fchown(descriptor, uid, gid)
    os.fchmod(descriptor, mode)


def set_attributes(descriptor: int, member: Member) -> None:
    """Give a file or directory all that its member says, times excepted."""
    own(descriptor, member.uid, member.gid, member.mode)
    if member.xattrs:
        set_xattrs(descriptor, member.xattrs)


def set_link_attributes(path: bytes, member: Member) -> None:
    """Give a symbolic link, not what it points to, all that its member says."""
    os.chown(path, member.uid, member.gid, follow_symlinks=False)
    if member.xattrs:
        set_xattrs(path, member.xattrs)
    os.utime(path, ns=(member.mtime_ns, member.mtime_ns), follow_symlinks=False)


def set_xattrs(where: int | bytes, xattrs: Mapping[bytes, bytes]) -> None:
    """Set extended attributes.

    Those of other systems (com.apple.*) mean nothing here and are passed over, and so is the SELinux label: the
    host's policy labels its files. Everything else is set or is an error: an extension without its file capabilities
    is broken.
    """
    for name, value in kept(xattrs).items():
        _set_xattr(where, name, value)


def kept(xattrs: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Those of a member's extended attributes that its file gets."""
    for name in xattrs:
        if name.startswith(OVERLAY):
            raise Refused(f"has the extended attribute {shown(name)}, which would change the overlay")
    return {name: value for name, value in xattrs.items() if name.startswith(_LINUX) and name != LABEL}


def unkeepable(xattrs: Mapping[bytes, bytes]) -> list[bytes]:
    """Those that an image may have and no file of an extension can: of other file systems, and of an overlay.

    NFS and the like answer to names below `system.` themselves; only access lists are kept by local file systems.
    """
    return [it for it in xattrs if it.startswith(_USER_OVERLAY) or (it.startswith(_SYSTEM) and it not in _LISTS)]


def label_of(path: bytes) -> bytes | None:
    return read_xattrs(path, (LABEL,)).get(LABEL)


def refuse_overlay(xattrs: Mapping[bytes, bytes], path: bytes) -> None:
    for name in xattrs:
        if name.startswith(OVERLAY):
            hint = "remove it: it would steer the overlay that the extension becomes a part of"
            raise Invalid(f"{shown(path)} has the extended attribute {shown(name)}", hint, code="content.attribute")


def clear_xattrs(path: bytes) -> None:
    """Remove extended attributes, except the label that the host has given."""
    for name in read_xattrs(path):
        if name != LABEL:
            os.removexattr(path, name, follow_symlinks=False)


def _set_xattr(where: int | bytes, name: bytes, value: bytes) -> None:
    if b"\0" in name:
        raise Refused("has an extended attribute with an unusable name")
    try:
        os.setxattr(where, name, value, follow_symlinks=isinstance(where, int))
    except OSError as error:
        text = shown(name)
        on_link = error.errno == errno.EPERM and isinstance(where, bytes)
        if on_link or error.errno in _CONTENT_ERRORS:
            raise Refused(f"has the extended attribute {text}, which is unusable ({error.strerror})") from error
        if error.errno in _UNABLE:
            what = f"the store's file system cannot keep the extended attribute {text} of {len(value)} bytes"
            hint = "put /var/lib/livelayer on a file system with large extended attributes, such as xfs or btrfs"
            raise Failed(what, hint, code="disk.no-attributes") from error
        raise
