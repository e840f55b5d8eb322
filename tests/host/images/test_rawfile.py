"""Image files as bytes: parts, holes, compression."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import resource
from typing import TYPE_CHECKING, Final

import pytest
import zstandard

from reconciler.errors import Failed, Invalid
from reconciler.host.images.rawfile import ImageFile, copy_part, decompress_to, write_sparse
from reconciler.model.content.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COMPRESSIONS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
    "bzip2": bz2.compress,
}
HOLES: Final = bytes(1 << 20) + b"a" * 5000 + bytes(3 << 20) + b"b" + bytes(4095) + b"c" + bytes(70_000)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(
    "content",
    [HOLES, b"hsqs", b"", bytes(1 << 20), os.urandom(600_000)],
    ids=["holes", "some bytes", "nothing", "zeros", "noise"],
)
def test_decompression(compression: str, content: bytes, tmp_path: Path) -> None:
    source = COMPRESSIONS[compression](content)
    (tmp_path / "source").write_bytes(source)
    digests = decompress_to(tmp_path / "source", tmp_path / "target", Limits(size=1 << 23))
    assert digests == (_digest(source), _digest(content))
    assert (tmp_path / "target").read_bytes() == content


def test_zeros_become_holes(tmp_path: Path) -> None:
    write_sparse(tmp_path / "target", [HOLES[:10_000], HOLES[10_000:]])
    assert (tmp_path / "target").read_bytes() == HOLES
    assert (tmp_path / "target").stat().st_blocks * 512 < 100_000


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_no_more_than_the_limit(compression: str, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(COMPRESSIONS[compression](bytes(64 << 20)))
    with pytest.raises(Invalid, match="it has more than 1M"):
        decompress_to(tmp_path / "source", tmp_path / "target", Limits(size=1 << 20))
    assert not (tmp_path / "target").exists()
    assert decompress_to(tmp_path / "source", tmp_path / "target", Limits(size=64 << 20))[1] == _digest(
        bytes(64 << 20)
    )


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_no_more_than_the_ratio_and_zeros_are_no_bomb(compression: str, tmp_path: Path) -> None:
    source, target, limits = tmp_path / "source", tmp_path / "target", Limits(ratio=10)
    source.write_bytes(COMPRESSIONS[compression](b"x" * (80 << 20)))
    with pytest.raises(Invalid, match="it unpacks to more than 10 times its size") as caught:
        decompress_to(source, target, limits)
    assert caught.value.code == "limit.exceeded"
    assert "settings.limits.ratio" in (caught.value.hint or "")
    assert not target.exists()
    source.write_bytes(COMPRESSIONS[compression](bytes(80 << 20)))
    decompress_to(source, target, limits)
    assert target.stat().st_blocks == 0


@pytest.mark.parametrize("compression", ["gzip", "xz", "zstd", "bzip2"])
def test_damaged_compression_leaves_nothing(compression: str, tmp_path: Path) -> None:
    source = COMPRESSIONS[compression](os.urandom(100_000))
    for content in (source[: len(source) // 2], source[:-1], source + b"more"):
        (tmp_path / "source").write_bytes(content)
        with pytest.raises(Invalid, match="the image cannot be decompressed") as caught:
            decompress_to(tmp_path / "source", tmp_path / "target", Limits(size=1 << 20))
        assert caught.value.hint
        assert not (tmp_path / "target").exists()


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "source").write_bytes(b"x")
    with pytest.raises(Failed, match="cannot be written"):
        decompress_to(tmp_path / "source", tmp_path / "target", Limits(size=10))
    assert (tmp_path / "target").read_bytes() == b"precious"


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(Failed, match="cannot be written: File too large"):
            write_sparse(tmp_path / "target", [b"x" * 100_000])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_parts(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(HOLES)
    copy_part(tmp_path / "source", 1 << 20, 2 << 20, tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == HOLES[1 << 20 : 3 << 20]
    with ImageFile(tmp_path / "source") as image:
        assert image.read(len(HOLES) + 5, 10) == b""
        assert image.read(len(HOLES) - 1, 10) == b"\0"


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="cannot be read: No such file"):
        ImageFile(tmp_path / "nowhere")
    with pytest.raises(Invalid, match="not a regular file"):
        ImageFile(tmp_path)
