"""Devices, pipes, sockets, privileges, owners, times and extended attributes."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.model.content.limits import Limits
from tests.host.hostile.cases import Case, harmless, harmless_raw, named, refuse, refuse_raw
from tests.host.hostile.names import LONG
from tests.host.tars import Entry, directory, extended, file, hard_link, header, symlink

if TYPE_CHECKING:
    from collections.abc import Sequence

_CAPABILITY: Final = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00".decode()
_CAPABLE: Final = {"SCHILY.xattr.security.capability": _CAPABILITY}
_STRICT: Final = Limits(setuid=False)


def _strict(words: str, *layers: Sequence[Entry]) -> Case:
    return replace(refuse(words, *layers), limits=_STRICT)


def _strict_harmless(tree: dict[str, str], *layers: Sequence[Entry]) -> Case:
    return replace(harmless(tree, *layers), limits=_STRICT)


def _attribute(name: str, value: str = "x") -> dict[str, str]:
    return {f"SCHILY.xattr.{name}": value}


CASES: Final = named(
    {
        # Kinds
        "character device": refuse("null: is a character device", [Entry("null", tarfile.CHRTYPE)]),
        "character device with numbers": refuse_raw("mem: is a character device", header(b"mem", b"3", prefix=b"")),
        "block device": refuse("dev/sda: is a block device", [Entry("dev/sda", tarfile.BLKTYPE)]),
        "whiteout device of overlayfs": refuse("a: is a character dev", [file("a")], [Entry("a", tarfile.CHRTYPE)]),
        "FIFO": refuse("pipe: is a FIFO", [Entry("pipe", tarfile.FIFOTYPE)]),
        "FIFO with content": refuse_raw("pipe: is a FIFO", header(b"pipe", b"6", size=b"10") + bytes(512)),
        "socket, as star writes it": refuse("s: is of an unknown type", [Entry("s", b"s")]),
        "unknown type": refuse("odd: is of an unknown type", [Entry("odd", b"V")]),
        "multi-volume": refuse("more: is of an unknown type", [Entry("more", b"M")]),
        "directory with a list, as GNU's incremental": refuse("d: is of an unknown", [Entry("d", b"D")]),
        "a type above ASCII": refuse_raw("a: is of an unknown type", header(b"a", b"\xff")),
        "a device's name with a link's type": harmless_raw({"dev": "/", "dev/null": ""}, header(b"dev/null")),
        "mode that says device": harmless_raw({"a": ""}, header(b"a", mode=b"0020666")),
        "mode that says socket": harmless_raw({"a": ""}, header(b"a", mode=b"0140755")),
        # Privileges
        "setuid": _strict("bin/su: is a setuid or setgid program", [file("bin/su", mode=0o4755)]),
        "setgid": _strict("bin/wall: is a setuid or setgid program", [file("bin/wall", mode=0o2755)]),
        "setuid without an owner's x": _strict("setuid", [file("a", mode=0o4044)]),
        "setuid, another owner": _strict("a: is a setuid", [file("a", mode=0o4755, uid=1000)]),
        "setuid in a later layer": _strict("a: is a setuid", [file("a", mode=0o755)], [file("a", mode=0o6755)]),
        "capabilities": _strict("bin/ping: has file capabilities", [file("bin/ping", pax=_CAPABLE)]),
        "capabilities, and more": _strict("has file cap", [file("p", pax={**_attribute("user.a"), **_CAPABLE})]),
        "a common capability": replace(
            refuse_raw(
                "a: has file capabilities",
                extended((b"SCHILY.xattr.security.capability", _CAPABILITY.encode()), flag=b"g") + header(b"a"),
            ),
            limits=_STRICT,
        ),
        "no privilege: a directory's bits": _strict_harmless({"d": "/"}, [directory("d", mode=0o7755)]),
        "no privilege: sticky": _strict_harmless({"a": ""}, [file("a", mode=0o1755)]),
        "no privilege: a hard link's header": _strict_harmless(
            {"a": "", "b": ""}, [file("a"), replace(hard_link("b", "a"), mode=0o4755)]
        ),
        "no privilege: another attribute": _strict_harmless({"a": ""}, [file("a", pax=_attribute("user.a"))]),
        # Attributes
        "overlay attribute": refuse(
            "a: has the extended attr", [file("a", pax=_attribute("trusted.overlay.opaque"))]
        ),
        "overlay attribute on a directory": refuse(
            "would change the overlay", [directory("d", pax=_attribute("trusted.overlay.redirect", "/etc"))]
        ),
        "overlay attribute of users": harmless(
            {"d": "/"}, [directory("d", pax=_attribute("user.overlay.whiteout", "y"))]
        ),
        "overlay attribute on the root, which is the store's": harmless(
            {}, [directory("./", pax=_attribute("trusted.overlay.opaque", "y"))]
        ),
        "broken capability": refuse("unusable", [file("a", pax=_attribute("security.capability"))]),
        "attribute without a name": refuse("unusable", [file("a", pax=_attribute("user."))]),
        "attribute with NUL": refuse("unusable", [file("a", pax=_attribute("user.x\0y"))]),
        "attribute with a long name": refuse("unusable", [file("a", pax=_attribute(f"user.{LONG}"))]),
        "attribute with a name of 500 KiB": refuse("unusable", [file("a", pax=_attribute("user." + "n" * 500_000))]),
        "attribute with a name in colours": refuse(
            "trusted.overlay.\\x1b[31m", [file("a", pax=_attribute("trusted.overlay.\x1b[31m"))]
        ),
        "attribute of 65 KiB": refuse(
            "a: has the extended attribute user.a", [file("a", pax=_attribute("user.a", "x" * 66_000))]
        ),
        "attribute of 900 KiB": refuse("user.a", [file("a", pax=_attribute("user.a", "x" * 900_000))]),
        "users' attribute of a link": refuse("unusable", [symlink("s", "x", pax=_attribute("user.a"))]),
        "2,000 attributes": refuse(
            "more than 1024 pax records",
            [file("a", pax={key: it for number in range(2000) for key, it in _attribute(f"user.{number}").items()})],
        ),
        "access list that is none": refuse("unusable", [file("a", pax=_attribute("system.posix_acl_access"))]),
        "attributes of other systems": harmless(
            {"a": ""}, [file("a", pax={**_attribute("com.apple.quarantine"), **_attribute("../../x")})]
        ),
        "a label is the host's affair": harmless({"a": ""}, [file("a", pax=_attribute("security.selinux", "root"))]),
        # Owners and times
        "nobody's": refuse("a: belongs to 4294967295", [file("a", uid=0xFFFFFFFF)]),
        "no group's": refuse_raw("a: belongs to 4294967295", header(b"a", gid=b"\x80\0\0\0\xff\xff\xff\xff")),
        "negative user": refuse("unreadable number", [file("a", pax={"uid": "-1"})]),
        "negative user in the header": refuse_raw("a: ", header(b"a", uid=b"\xff" * 8)),
        "user beyond 32 bits": refuse("belongs to 4294967296", [file("a", pax={"uid": "4294967296"})]),
        "user of 3,000 digits": refuse("unreadable number", [file("a", pax={"uid": "9" * 3000})]),
        "user in Arabic digits": refuse("unreadable number", [file("a", pax={"uid": "\u0661"})]),
        "user by name only": harmless({"a": ""}, [file("a", pax={"uname": "root", "gname": "../../etc"})]),
        "time": refuse("a: it has an unreadable modification time", [file("a", pax={"mtime": "yesterday"})]),
        "time that is not a number": refuse("unreadable modification time", [file("a", pax={"mtime": "nan"})]),
        "time without end": refuse("unreadable modification time", [file("a", pax={"mtime": "inf"})]),
        "time beyond the clock": refuse("no file system can keep", [file("a", pax={"mtime": "99999999999"})]),
        "time beyond the clock, in the header": refuse_raw(
            "no file system can keep", header(b"a", mtime=b"\x80" + b"\x7f" * 11)
        ),
        "time of 900,000 digits": harmless({"a": ""}, [file("a", pax={"mtime": "1." + "9" * 900_000})]),
    }
)
