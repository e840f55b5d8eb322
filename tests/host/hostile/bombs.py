"""Archives that are small and become large: by ratio, by count, in total, by names."""

from __future__ import annotations

import bz2
import gzip
import lzma
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Final

import zstandard

from reconciler.model.content.limits import Limits
from tests.host.hostile.cases import Case, Packed, harmless, named, refuse
from tests.host.tars import END, Entry, directory, extended, file, hard_link, header, padded, symlink, tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_BIG: Final = 80 << 20
_ZEROS: Final = bytes(1 << 20)
_RATIO: Final = "unpacks to more than 200 times its size"
_FEW: Final = Limits(members=10)
_SMALL: Final = Limits(size=100_000)


def _gzip(pieces: Iterator[bytes]) -> bytes:
    return b"".join(map(_gzip_piece, pieces))


@cache
def _gzip_piece(piece: bytes) -> bytes:
    return gzip.compress(piece, mtime=0)


def _zstd(pieces: Iterator[bytes]) -> bytes:
    frame = zstandard.ZstdCompressor().compressobj()
    return b"".join(map(frame.compress, pieces)) + frame.flush()


def _xz(pieces: Iterator[bytes]) -> bytes:
    stream = lzma.LZMACompressor(preset=0)
    return b"".join(map(stream.compress, pieces)) + stream.flush()


def _bz2(pieces: Iterator[bytes]) -> bytes:
    return b"".join(_bz2_piece(piece) for piece in pieces)


@cache
def _bz2_piece(piece: bytes) -> bytes:
    return bz2.compress(piece, 1)


def _zeros(*around: bytes) -> Iterator[bytes]:
    before, after = around
    yield before
    for _ in range(_BIG >> 20):
        yield _ZEROS
    yield after


def _bomb(compress: Callable[[Iterator[bytes]], bytes], before: bytes, after: bytes = END) -> Case:
    return Case("", lambda _: [Packed(compress(_zeros(before, after)))], refused=_RATIO)


def _limited(case: Case, limits: Limits) -> Case:
    return replace(case, limits=limits)


def _few(words: str, *layers: Sequence[Entry]) -> Case:
    return replace(refuse(words, *layers), limits=_FEW)


def _small(words: str, *layers: Sequence[Entry]) -> Case:
    return replace(refuse(words, *layers), limits=_SMALL)


_FILE: Final = header(b"zeros", size=b"%o" % _BIG)

CASES: Final = named(
    {
        "gzip": _bomb(_gzip, _FILE),
        "zstd": _bomb(_zstd, _FILE),
        "xz": _bomb(_xz, _FILE),
        "bzip2": _bomb(_bz2, _FILE),
        "after the end of the archive": _bomb(_gzip, header(b"a") + END, b""),
        "after the end, zstd": _bomb(_zstd, tar(file("a")), b""),
        "in what a whiteout holds": _bomb(_gzip, header(b".wh.a", size=b"%o" % _BIG)),
        "in padding before anything": _bomb(_gzip, b"", b""),
        "in a member that is refused later": _bomb(_gzip, _FILE, header(b"../x") + END),
        "in the second layer": Case(
            "", lambda _: [Packed(tar(file("a"))), Packed(_gzip(_zeros(_FILE, END)))], refused=_RATIO
        ),
        "in extended headers without a member": Case(
            "",
            lambda _: [Packed(_zstd(iter([extended((b"comment", b"x" * 1_000_000), flag=b"g")] * 80)))],
            refused=_RATIO,
        ),
        "a smaller ratio": _limited(
            Case(
                "",
                lambda _: [Packed(_bz2(_zeros(_FILE, END)))],
                refused="more than 10 times its size, the limit for 64M and more",
            ),
            Limits(ratio=10),
        ),
        "a size, in one file": _small(
            "big: takes the extension to 97.7K unpacked, more than the 97.7K that an extension may take",
            [file("big", b"x" * 100_001)],
        ),
        "a size, in many files": _small("f10: takes the extension", [file(f"f{n}", b"x" * 9_999) for n in range(20)]),
        "a size, in many layers": _small("f: takes", *([file("f", b"x" * 30_000)] for _ in range(4))),
        "a size, of files that whiteouts remove": _small(
            "b: takes", [file("a", b"x" * 60_000)], [file(".wh.a"), file("b", b"x" * 60_000)]
        ),
        "a size, in one file again and again": _small("a: takes", [file("a", b"x" * 30_000) for _ in range(4)]),
        "a size, in attributes": _small(
            "takes the extension", [file(f"f{n}", pax={"SCHILY.xattr.user.a": "x" * 3_000}) for n in range(40)]
        ),
        "a size, in attributes of other systems": _small(
            "a: takes the extension", [file("a", pax={"SCHILY.xattr.com.apple.x": "x" * 200_000})]
        ),
        "a size, exactly": _limited(harmless({"a": "x" * 100_000}, [file("a", b"x" * 100_000)]), _SMALL),
        "a size, nothing for links": _limited(
            harmless({"a": "x" * 60_000, "b": "x" * 60_000}, [file("a", b"x" * 60_000), hard_link("b", "a")]), _SMALL
        ),
        "a count of files": _few("f10: is one more than the 10 files", [file(f"f{n}") for n in range(20)]),
        "a count of directories": _few("d10/: is one more than", [directory(f"d{n}") for n in range(20)]),
        "a count of links": _few("s10: is one more than", [symlink(f"s{n}", "x") for n in range(20)]),
        "a count of hard links": _few("h9: is one more", [file("a"), *(hard_link(f"h{n}", "a") for n in range(20))]),
        "a count of one name": _few("a: is one more", [file("a") for _ in range(20)]),
        "a count of whiteouts": _few(".wh.f10: is one more than", [file(f".wh.f{n}") for n in range(20)]),
        "a count across layers": _few("f: is one more than", *([file("f"), directory("d")] for _ in range(6))),
        "a count of parents": _few("is one more than", [file("/".join("abcdefghijkl"))]),
        "a count of parents, in their order": _few(
            "a/b/c/d/e/f/g/h/i/j: is one more", [file("a/b/c/d/e/f/g/h/i/j/k")]
        ),
        "a count, exactly": _limited(
            harmless({f"f{n}": "" for n in range(10)}, [file(f"f{n}") for n in range(10)]), _FEW
        ),
        "a mass of parents": _few("more than the 10", *([file(f"{n}/{n}/{n}/a")] for n in range(5))),
        "a mass of names": _few(
            "has one name too many: they are longer than 256 bytes for each of the 10",
            [file("n" * 250 + "/" + "m" * 250) for _ in range(6)],
        ),
        "a mass of slashes in names": _few("has one name too many", [file("a" + "/" * 3000 + "b")]),
        "gzip members without content": Case(
            "",
            lambda _: [Packed(gzip.compress(b"", mtime=0) * 20_000 + gzip.compress(tar(file("a"))))],
            tree={"a": ""},
        ),
        "zstd frames to skip": Case(
            "",
            lambda _: [Packed(b"\x50\x2a\x4d\x18\0\0\0\0" * 20_000 + zstandard.compress(tar(file("a"))))],
            tree={"a": ""},
        ),
        "a well-compressing layer that is small": Case(
            "",
            lambda _: [Packed(gzip.compress(header(b"a", size=b"4000000") + bytes(1 << 20) + END))],
            tree={"a": "\0" * (1 << 20)},
        ),
        "a directory of 3,000 whiteouts": harmless(
            {"d": "/", "d/a": ""}, [file("d/a"), *(file(f"d/.wh.{n}") for n in range(3000))]
        ),
        "padding": Case("", lambda _: [Packed(tar(file("a")) + padded(b"") + bytes(10 << 20))], tree={"a": ""}),
    }
)
