"""Compressed layers that are cut, flipped, nested, followed by something, or ask for too much memory."""

from __future__ import annotations

import gzip
import lzma
from typing import TYPE_CHECKING, Final

import zstandard

from tests.host.hostile.cases import Case, blobs, named
from tests.host.tars import COMPRESSIONS, SOME, file, tar

if TYPE_CHECKING:
    from collections.abc import Iterator

_CUT: Final = "its compressed data is cut off"
_DAMAGED: Final = "its compressed data is damaged"
_FOLLOWS: Final = "something else follows its compressed data"
_MEMORY: Final = "takes more than 128 MiB of memory to decompress"
_ONE: Final = tar(file("a", b"1"))
_WHOLE: Final = {name: compress(SOME) for name, compress in COMPRESSIONS.items() if name != "plain"}


def _refused(words: str, blob: bytes) -> Case:
    return Case("", blobs(blob), refused=words)


def _nothing(blob: bytes) -> Case:
    return Case("", blobs(blob), tree={})


def _cut() -> Iterator[tuple[str, Case]]:
    for name, whole in _WHOLE.items():
        for where, end in {"in the middle": len(whole) // 2, "at the last byte": len(whole) - 1}.items():
            yield f"{name}, cut {where}", _refused(_CUT, whole[:end])
        yield f"{name}, cut after the magic", _refused("its compressed data", whole[:6])
        yield f"{name}, cut before the second stream's end", _refused(_CUT, whole + whole[:-3])


def _flipped() -> Iterator[tuple[str, Case]]:
    for name, whole in _WHOLE.items():
        for place in (len(whole) // 3, len(whole) // 2, len(whole) * 3 // 4):
            flipped = whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :]
            yield f"{name}, flipped at {place}", _refused("", flipped)
        tail = bytes([whole[-5] ^ 1]) + whole[-4:]
        yield f"{name}, flipped in the checksum", _refused("its compressed data", whole[:-5] + tail)


def _followed() -> Iterator[tuple[str, Case]]:
    for name, whole in _WHOLE.items():
        yield f"{name}, then garbage", _refused(_FOLLOWS, whole + b"garbage")
        yield f"{name}, then one byte", _refused(_FOLLOWS, whole + b"x")
        yield f"{name}, then zeros and garbage", _refused(_FOLLOWS, whole + bytes(5000) + b"garbage")
        yield f"{name}, then a bare tar", _refused(_FOLLOWS, whole + tar(file("../x")))
        yield f"{name}, then zeros", Case("", blobs(COMPRESSIONS[name](_ONE) + bytes(5000)), tree={"a": "1"})


def _nested() -> Iterator[tuple[str, Case]]:
    for outer, compress in COMPRESSIONS.items():
        if outer != "plain":
            yield f"gzip in {outer}", _refused("it is no tar archive", compress(_WHOLE["gzip"] * 30))
    yield "gzip in gzip in gzip", _refused("it is no tar", gzip.compress(gzip.compress(_WHOLE["gzip"] * 30)))


def _window(log: int) -> bytes:
    """A zstd frame that asks for a window of 2**log bytes."""
    header = (0xFD2FB528).to_bytes(4, "little") + bytes([0, (log - 10) << 3])
    return header + b"\1\0\0"  # and an empty last block


def _one_segment(size: int) -> bytes:
    """A zstd frame that claims to hold this much, to be kept in memory as a whole."""
    return (0xFD2FB528).to_bytes(4, "little") + bytes([0xE0]) + size.to_bytes(8, "little") + b"\1\0\0"


_XZ_LARGE: Final = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 512 << 20}]

CASES: Final = named(
    {
        **dict(_cut()),
        **dict(_flipped()),
        **dict(_followed()),
        **dict(_nested()),
        "zstd, a window of 256 MiB": _refused(_MEMORY, _window(28)),
        "zstd, a window of 2 GiB": _refused(_MEMORY, _window(31)),
        "zstd, a window of 2 TiB": _refused(_MEMORY, _window(41)),
        "zstd, one segment of 1 GiB": _refused(_MEMORY, _one_segment(1 << 30)),
        "zstd, one segment of 16 EiB": _refused("its compressed data", _one_segment((1 << 64) - 1)),
        "zstd, a large window in the second frame": _refused(_MEMORY, _WHOLE["zstd"] + _window(30)),
        "zstd, a dictionary nobody has": _refused(
            _DAMAGED, (0xFD2FB528).to_bytes(4, "little") + bytes([3, 0x58]) + b"\1\2\3\4" + b"\1\0\0"
        ),
        "zstd, a frame to skip that is cut": _refused(_CUT, b"\x50\x2a\x4d\x18\xff\xff\xff\xff" + bytes(100)),
        "zstd, only a frame to skip": _nothing(b"\x50\x2a\x4d\x18\4\0\0\0abcd"),
        "zstd of an earlier version": _refused("it is no tar archive", b"\x27\xb5\x2f\xfd" + bytes(600)),
        "xz, a dictionary of 512 MiB": _refused(_MEMORY, lzma.compress(SOME, lzma.FORMAT_XZ, filters=_XZ_LARGE)),
        "lzma, as before xz": _refused("it is no tar archive", lzma.compress(SOME, lzma.FORMAT_ALONE)),
        "compress(1)": _refused("it is no tar archive", b"\x1f\x9d\x90" + b"x" * 600),
        "lz4": _refused("it is no tar archive", b"\x04\x22\x4d\x18" + b"x" * 600),
        "gzip of nothing": _nothing(gzip.compress(b"")),
        "gzip of text": _refused("it is no tar archive", gzip.compress(b"x" * 600)),
        "gzip's magic and garbage": _refused(_DAMAGED, b"\x1f\x8b garbage and more of it"),
        "gzip's magic alone": _refused("its compressed data", b"\x1f\x8b"),
        "gzip, a method nobody has": _refused(_DAMAGED, b"\x1f\x8b\x07" + _WHOLE["gzip"][3:]),
        "gzip, a size that lies": _refused("its compressed data", _WHOLE["gzip"][:-4] + b"\1\0\0\0"),
        "gzip, all flags set": _refused("", b"\x1f\x8b\x08\xff" + b"x" * 600),
        "bzip2's magic and garbage": _refused(_DAMAGED, b"BZh9garbage and more of it"),
        "bzip2's magic and zeros": _refused(_DAMAGED, b"BZh9" + bytes(600)),
        "xz's magic and garbage": _refused(_DAMAGED, b"\xfd7zXZ\0garbage and more of it, and more"),
        "zstd's magic and garbage": _refused(
            "its compressed data", zstandard.MAGIC_NUMBER.to_bytes(4, "little") + b"\xff" * 50
        ),
        "gzip, then zstd, then garbage": _refused(_FOLLOWS, _WHOLE["gzip"] + _WHOLE["zstd"] + b"garbage"),
        "gzip, then half of a zstd": _refused(_CUT, _WHOLE["gzip"] + _WHOLE["zstd"][:-9]),
    }
)
