"""Headers and pax records that are damaged, contradict each other, or are nothing of the kind."""

from __future__ import annotations

from typing import Final

from tests.host.hostile.cases import Case, blobs, harmless_raw, named, refuse_raw
from tests.host.tars import END, extended, file, header, padded, record, tar


def _pax(data: bytes, flag: bytes = b"x") -> bytes:
    return header(b"pax", flag, size=b"%o" % len(data)) + padded(data)


def _damaged(words: str, content: bytes) -> Case:
    """Without an end of its own."""
    return Case("", blobs(content), refused=words)


_RECORD: Final = "it has an unreadable pax record"

CASES: Final = named(
    {
        # No archive
        "text": _damaged("it is no tar archive", b"<html>not found</html>" * 100),
        "little text": _damaged("it is no tar archive", b"not found"),
        "one byte": _damaged("it is no tar archive", b"\0"),
        "a block of ones": _damaged("it is no tar archive", b"\xff" * 512),
        "a zip file": _damaged("it is no tar archive", b"PK\3\4" + b"x" * 2000),
        "an ar archive": _damaged("it is no tar archive", b"!<arch>\ndebian-binary   " + b" " * 600),
        "a cpio archive": _damaged("it is no tar archive", b"070701" + b"0" * 1000),
        "a squashfs image": _damaged("it is no tar archive", b"hsqs" + bytes(4096)),
        "an ELF program": _damaged("it is no tar archive", b"\x7fELF" + bytes(4096)),
        "JSON": _damaged("it is no tar archive", b'{"schemaVersion": 2}' + b" " * 600),
        # Damage
        "wrong sum": _damaged("a header has a wrong sum", header(b"a") + b"x" + header(b"b")[1:] + END),
        "sum of letters": _damaged("it is no tar", header(b"a").replace(header(b"a")[148:155], b"letters") + END),
        "one zero too few in the content": _damaged(
            "a header has a wrong sum", header(b"a", size=b"1") + padded(b"x")[1:] + header(b"b") + END
        ),
        "one zero too many in the content": _damaged(
            "a header has a wrong sum", header(b"a", size=b"1") + padded(b"x") + b"\0" + header(b"b") + END
        ),
        "garbage in the end": _damaged("something follows its end", header(b"a") + bytes(512) + header(b"b")),
        "cut in a header": _damaged("is cut off", header(b"a") + header(b"b")[:100]),
        "cut in the content": _damaged("is cut off", header(b"a", size=b"1000") + b"x" * 600),
        "cut before the content": _damaged("is cut off", header(b"a", size=b"7777777777")),
        "cut in a pax header": _damaged("is cut off", extended((b"path", b"x"))[:520]),
        "cut after a pax header": _damaged("ends after an extended header", extended((b"path", b"x"))),
        "cut in a GNU name": _damaged("is cut off", header(b"l", b"L", size=b"1000") + b"x" * 500),
        # Numbers
        "size of letters": refuse_raw(
            "a: the tar archive is damaged: a header has an unread", header(b"a", size=b"zz")
        ),
        "size of eights": refuse_raw("an unreadable number", header(b"a", size=b"00000000888")),
        "size with a sign": refuse_raw("an unreadable number", header(b"a", size=b"-10")),
        "size with an underscore": refuse_raw("an unreadable number", header(b"a", size=b"1_0")),
        "size in words of Python": refuse_raw("an unreadable number", header(b"a", size=b"0x10")),
        "size below zero": refuse_raw("a: ", header(b"a", size=b"\xff" * 12)),
        "size above all": refuse_raw("no file system can keep", header(b"a", size=b"\x80" + b"\xff" * 11)),
        "pax size is decimal": harmless_raw(
            {"a": "x" * 1000}, extended((b"size", b"1000")) + header(b"a") + padded(b"x" * 1000)
        ),
        "pax size of letters": refuse_raw("unreadable number", extended((b"size", b"x")) + header(b"a")),
        "pax size below zero": refuse_raw("unreadable number", extended((b"size", b"-1")) + header(b"a")),
        "pax size of 3,000 digits": refuse_raw("unreadable number", extended((b"size", b"9" * 3000)) + header(b"a")),
        "pax size above all": refuse_raw("no file system", extended((b"size", b"9" * 19)) + header(b"a")),
        "pax size of half the content": refuse_raw(
            "a wrong sum", extended((b"size", b"512")) + header(b"a", size=b"2000") + b"x" * 1024
        ),
        "mode of letters": refuse_raw("a: the tar archive is damaged", header(b"a", mode=b"rwxr-xr")),
        "mode below zero": refuse_raw("below zero", header(b"a", mode=b"\xff" * 8)),
        "time of letters": refuse_raw("unreadable number", header(b"a", mtime=b"yesterday")),
        # Pax records
        "pax for nothing": refuse_raw("ends after an extended header", extended((b"path", b"x"))),
        "pax of more than 1 MiB": _damaged(
            "more than 1 MiB", header(b"x", b"x", size=b"4000001") + bytes(1 << 20) + END
        ),
        "pax of 8 EiB": _damaged("more than 1 MiB", header(b"x", b"x", size=b"\x80\0\0\0" + b"\x7f" * 8) + END),
        "pax of a size below zero": _damaged("below zero", header(b"x", b"x", size=b"\xff" * 12) + END),
        "a chain of pax headers": refuse_raw(
            "more than 2 MiB",
            b"".join(extended((b"%d" % number, b"v" * 900_000)) for number in range(3)) + header(b"a"),
        ),
        "a chain of common pax headers": refuse_raw(
            "more than 2 MiB",
            b"".join(extended((b"%d" % number, b"v" * 900_000), flag=b"g") for number in range(3)) + header(b"a"),
        ),
        "100,000 pax records": refuse_raw(
            "more than 1024 pax records",
            _pax(b"".join(record(b"%d" % it, b"") for it in range(80_000))) + header(b"a"),
        ),
        "2,000 pax headers with a record each": refuse_raw(
            "more than 1024 pax", b"".join(extended((b"%d" % it, b"v")) for it in range(2000)) + header(b"a")
        ),
        "pax length of letters": refuse_raw(_RECORD, _pax(b"x a=b") + header(b"a")),
        "pax length too large": refuse_raw(_RECORD, _pax(b"99 a=b\n") + header(b"a")),
        "pax length too small": refuse_raw(_RECORD, _pax(b"2 a=b\n") + header(b"a")),
        "pax length of zero": refuse_raw(_RECORD, _pax(b"0 a=b\n") + header(b"a")),
        "pax length below zero": refuse_raw(_RECORD, _pax(b"-6 a=b\n") + header(b"a")),
        "pax length with a sign": refuse_raw(_RECORD, _pax(b"+7 a=b\n") + header(b"a")),
        "pax length of 19 digits": refuse_raw(_RECORD, _pax(b"9" * 19 + b" a=b\n") + header(b"a")),
        "pax length of 3,000 digits": refuse_raw(_RECORD, _pax(b"9" * 3000 + b" a=b\n") + header(b"a")),
        "pax without newline": refuse_raw(_RECORD, _pax(b"6 a=bX") + header(b"a")),
        "pax without value": refuse_raw(_RECORD, _pax(b"5 ab\n") + header(b"a")),
        "pax without key": refuse_raw(_RECORD, _pax(b"5 =b\n") + header(b"a")),
        "pax of zeros": refuse_raw(_RECORD, _pax(bytes(100)) + header(b"a")),
        "pax in a binary charset": harmless_raw(
            {"a": ""}, extended((b"hdrcharset", b"BINARY"), (b"comment", b"\xff\x00")) + header(b"a")
        ),
        "pax keys nobody knows": harmless_raw(
            {"a": ""}, extended((b"VENDOR.x", b"y"), (b"realtime", b"1")) + header(b"a")
        ),
        "pax with a newline in the value": harmless_raw({"a\nb": ""}, extended((b"path", b"a\nb")) + header(b"a")),
        "pax that names the member twice": harmless_raw(
            {"c": ""}, _pax(record(b"path", b"../b") + record(b"path", b"c")) + header(b"a")
        ),
        "pax and GNU names, the later counts": harmless_raw(
            {"b": ""}, extended((b"path", b"../a")) + header(b"l", b"L", size=b"2") + padded(b"b\0") + header(b"x")
        ),
        "pax link of a file": harmless_raw({"a": ""}, extended((b"linkpath", b"../../etc")) + header(b"a")),
        "pax size of a link": harmless_raw(
            {"s": "-> a"}, extended((b"size", b"99999")) + header(b"s", b"2", link=b"a")
        ),
        "content of a directory is none": harmless_raw({"d": "/"}, header(b"d", b"5", size=b"1000")),
        "what follows the end": Case("", blobs(tar(file("a")) + header(b"../x") + b"x" * 500), tree={"a": ""}),
        "an archive after the end": Case("", blobs(tar(file("a")) + tar(file("../x"))), tree={"a": ""}),
        "a label of a volume": refuse_raw("label: is of an unknown type", header(b"label", b"V")),
        "names of users": harmless_raw({"a": ""}, header(b"a", magic=b"ustar\x0000root\0../../")),
    }
)
