"""Sparse files whose maps or sizes lie, and files that are not as large as they say."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from reconciler.model.content.limits import Limits
from tests.host.hostile.cases import Case, blobs, harmless_raw, named, refuse_raw
from tests.host.tars import END, extended, header, padded

_CONTRADICTS: Final = "a: its sparse map contradicts its size"
_SMALL: Final = Limits(size=1 << 20)


def _field(number: int) -> bytes:
    return b"%011o\0" % number


def _old(*pairs: tuple[int, int], real: int, size: int, more: bytes = b"") -> bytes:
    segments = b"".join(_field(offset) + _field(length) for offset, length in pairs)
    return header(b"a", b"S", segments=segments, real=_field(real), size=b"%o" % size, more=more)


def _map(text: bytes, size: bytes, *, stored: int = 0) -> bytes:
    """Format 0.1."""
    records = extended((b"GNU.sparse.map", text), (b"GNU.sparse.size", size))
    return records + header(b"a", size=b"%o" % stored) + padded(b"x" * stored)


def _in_data(lines: bytes, size: bytes, *, stored: int | None = None) -> bytes:
    """Format 1.0."""
    records = extended(
        (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", size), (b"path", b"a")
    )
    data = padded(lines)
    return records + header(b"x", size=b"%o" % (len(data) if stored is None else stored)) + data


CASES: Final = named(
    {
        "old map without end": Case("", blobs(_old(real=0, size=0, more=b"\1") + bytes(100)), refused="has no end"),
        "old map that goes on for ever": refuse_raw(
            "has no end", _old(real=0, size=0, more=b"\1") + (_field(0) * 42 + b"\1" + bytes(7)) * 13_000
        ),
        "old map backwards": refuse_raw(
            "below zero", header(b"a", b"S", segments=b"\x80" + bytes(11) + b"\xff" * 12)
        ),
        "old map without data": refuse_raw(_CONTRADICTS, _old((0, 5), real=5, size=0)),
        "old map beyond the size": refuse_raw(_CONTRADICTS, _old((0, 5), real=4, size=5) + padded(b"12345")),
        "old map out of order": refuse_raw(
            _CONTRADICTS, _old((512, 5), (0, 5), real=1024, size=10) + padded(b"1234512345")
        ),
        "old map that overlaps": refuse_raw(
            _CONTRADICTS, _old((0, 5), (3, 5), real=1024, size=10) + padded(b"1234512345")
        ),
        "old map of letters": refuse_raw(
            "unreadable number", header(b"a", b"S", segments=b"letters".ljust(24, b"z"))
        ),
        "old map, 8 EiB": refuse_raw(
            "no file system can keep", header(b"a", b"S", segments=b"\x80" + b"\xff" * 11, real=b"1")
        ),
        "map of one number": refuse_raw("its sparse map is unreadable", _map(b"1", b"5")),
        "map of letters": refuse_raw("unreadable number", _map(b"a,b", b"5")),
        "map below zero": refuse_raw("unreadable number", _map(b"-5,5", b"5", stored=5)),
        "map with gaps": refuse_raw("unreadable number", _map(b"0,,1,2", b"5")),
        "map without a size": refuse_raw("unreadable number", extended((b"GNU.sparse.map", b"0,0")) + header(b"a")),
        "map beyond the size": refuse_raw(_CONTRADICTS, _map(b"0,5", b"3", stored=5)),
        "map of more than is there": refuse_raw(_CONTRADICTS, _map(b"0,500", b"500", stored=5)),
        "map of less than is there": refuse_raw(_CONTRADICTS, _map(b"0,5", b"500", stored=50)),
        "map that overflows": refuse_raw(
            _CONTRADICTS, _map(b"9223372036854775807,9223372036854775807", b"9223372036854775807")
        ),
        "map for all members": refuse_raw(
            "one sparse map for all members",
            extended((b"GNU.sparse.map", b"0,0"), (b"GNU.sparse.size", b"5"), flag=b"g") + header(b"a"),
        ),
        "in an unknown way": refuse_raw(
            "a: it is sparse in an unknown format", extended((b"GNU.sparse.major", b"2")) + header(b"a")
        ),
        "map in the data, of letters": refuse_raw("its sparse map is unreadable", _in_data(b"x\n", b"5")),
        "map in the data, cut": Case(
            "", blobs(_in_data(b"3\n0\n5\n", b"5")[:-512] + b"3\n0\n"), refused="its sparse map is unreadable"
        ),
        "map in the data, of a million": refuse_raw("its sparse map is too long", _in_data(b"1000000\n", b"5")),
        "map in the data, of 10**18": refuse_raw(
            "its sparse map is too long", _in_data(b"1" + b"0" * 18 + b"\n", b"5")
        ),
        "map in the data, a number without end": refuse_raw("unreadable", _in_data(b"1" * 5000, b"5")),
        "map in the data, longer than the data": refuse_raw("a: ", _in_data(b"2\n0\n0\n0\n0\n", b"5", stored=0)),
        "map in the data, beyond the size": refuse_raw(
            _CONTRADICTS, _in_data(b"1\n0\n9\n".ljust(512, b"\0") + b"123456789", b"5")
        ),
        "all hole, 8 EiB": refuse_raw("a: is sparse and has", _map(b"", b"9223372036854775807")),
        "all hole, larger than the limit": replace(
            refuse_raw("a: is sparse and has 1.0M unpacked, more than the 1M", _map(b"1048577,0", b"1048577")),
            limits=_SMALL,
        ),
        "all hole, in the old format": replace(
            refuse_raw("a: is sparse and has 8.0G", _old(real=(1 << 33) - 1, size=0)), limits=_SMALL
        ),
        "holes are not counted": replace(
            harmless_raw({"a": "\0" * 900_000}, _map(b"", b"900000") * 5), limits=_SMALL
        ),
        "size larger than the archive": Case(
            "", blobs(header(b"a", size=b"77777777") + b"x" * 5000 + END), refused="the tar archive is cut off"
        ),
        "size of 8 GiB, nothing there": Case(
            "", blobs(header(b"a", size=b"77777777777") + END), refused="the tar archive is cut off"
        ),
        "size of a petabyte": Case(
            "",
            blobs(header(b"a", size=b"\x80" + bytes(4) + (1 << 50).to_bytes(7, "big")) + END),
            refused="a: takes the extension to 1024T unpacked, more than the 16G",
        ),
        "map of nothing": harmless_raw({"a": ""}, _map(b"", b"0")),
        "map of empty pieces": harmless_raw({"a": "\0" * 7}, _map(b"0,0,0,0,7,0", b"7")),
    }
)
