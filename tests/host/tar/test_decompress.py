"""Every compression, cut and flipped anywhere; digests on both sides of it."""

from __future__ import annotations

import gzip
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import zstandard

from reconciler.errors import Invalid
from reconciler.host.tar import decompress
from reconciler.host.tar.reader import members
from tests.host import tars
from tests.host.layers.unpacking import needs_root
from tests.host.tars import END, SOME, file, header, tar

if TYPE_CHECKING:
    from tests.host.layers.unpacking import Bench


pytestmark = needs_root


@pytest.mark.parametrize("compression", tars.COMPRESSIONS)
@pytest.mark.parametrize("streams", [1, 2, 7])
def test_compressions(bench: Bench, compression: str, streams: int) -> None:
    """Whatever the media type says, and also when a blob is several streams one after the other."""
    step = len(SOME) // streams + 1
    pieces = [SOME[start : start + step] for start in range(0, len(SOME), step)]
    content = b"".join(map(tars.COMPRESSIONS[compression], pieces))
    assert set(bench.unpack_bytes(tars.blob(bench.blobs, content, tars.digest(SOME)))) == {"d", "d/a", "b", "s"}


@pytest.mark.parametrize("compression", ["gzip", "xz", "bzip2", "zstd"])
def test_zeros_may_fill_a_blob(bench: Bench, compression: str) -> None:
    content = tars.COMPRESSIONS[compression](SOME) + bytes(1 << 19)
    assert bench.unpack_bytes(tars.blob(bench.blobs, content, tars.digest(SOME)))


def test_zstd_with_frames_to_skip(bench: Bench) -> None:
    skip = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    content = skip + tars.COMPRESSIONS["zstd"](SOME) + skip
    assert bench.unpack_bytes(tars.blob(bench.blobs, content, tars.digest(SOME)))


@pytest.fixture
def without_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine for which isal has no wheel."""
    monkeypatch.setattr(decompress, "igzip", None)


@pytest.mark.usefixtures("without_isal")
def test_gzip_without_isal(bench: Bench) -> None:
    big = tar(file("zeros", bytes(3 << 20)), file("a", b"1"))
    content = gzip.compress(big[:5000]) + gzip.compress(big[5000:]) + bytes(100)
    assert set(bench.unpack_bytes(tars.blob(bench.blobs, content, tars.digest(big)))) == {"zeros", "a"}
    cut = tars.blob(bench.blobs, gzip.compress(big)[:-1])
    assert "cut off" in bench.refusal(cut).message


@pytest.mark.parametrize("compression", ["gzip", "zstd", "xz", "bzip2"])
def test_cut_anywhere(bench: Bench, compression: str) -> None:
    """Also where the tar is complete already; its digests being those of the cut blob."""
    whole = tars.COMPRESSIONS[compression](SOME)
    for end in [*range(1, len(whole) - 40, 97), *range(len(whole) - 40, len(whole))]:
        bench.refusal(tars.blob(bench.blobs, whole[:end]))


@pytest.mark.parametrize("compression", tars.COMPRESSIONS)
def test_a_bit_flipped_anywhere(bench: Bench, compression: str) -> None:
    """Never anything but the same tree or one clear refusal, the blob's digest being that of the flipped one."""
    whole = tars.COMPRESSIONS[compression](SOME)
    for place in range(0, len(whole), 61):
        flipped = whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :]
        stack = tars.blob(bench.blobs, flipped, tars.digest(SOME))
        try:
            bench.unpack_bytes(stack)
        except Invalid as error:
            assert stack.layers[0].digest in error.message  # noqa: PT017 - either is fine
        else:
            assert bench.found("d/a").data == b"text " * 3000


def test_the_blobs_digest_is_checked_before_anything_is_said_about_its_content(bench: Bench) -> None:
    for content in (SOME, tars.COMPRESSIONS["gzip"](SOME)[:-9], b"garbage", tar(file("../x"))):
        stack = tars.blob(bench.blobs, content)
        wanted = replace(stack.layers[0], digest=tars.digest(b"other"))
        (bench.blobs / wanted.digest).write_bytes(content)
        error = bench.refusal(tars.Stack((wanted,), bench.blobs))
        assert f"the blob's content has the digest {tars.digest(content)}" in error.message


@pytest.mark.parametrize("compression", tars.COMPRESSIONS)
def test_the_archives_digest_is_checked(bench: Bench, compression: str) -> None:
    stack = tars.stack(bench.blobs, SOME, compression=compression)
    wrong = replace(stack.layers[0], diff_id=tars.digest(b"other"))
    assert f"unpacks to {tars.digest(SOME)}" in bench.refusal(tars.Stack((wrong,), bench.blobs)).message


def test_digests_cover_what_follows_the_end_of_the_archive(bench: Bench) -> None:
    longer = SOME + bytes(1 << 20) + b"more"
    bench.unpack_bytes(tars.stack(bench.blobs, longer, compression="gzip"))
    cut = tars.blob(bench.blobs, tars.COMPRESSIONS["gzip"](SOME), tars.digest(longer))
    assert "unpacks to" in bench.refusal(cut).message


def test_an_unknown_diff_id_is_not_checked(bench: Bench) -> None:
    assert bench.unpack_bytes(tars.blob(bench.blobs, tars.COMPRESSIONS["xz"](SOME)))


def test_every_layer_is_checked(bench: Bench) -> None:
    stack = tars.stack(bench.blobs, tar(file("a")), tar(file("b")))
    (bench.blobs / stack.layers[1].digest).write_bytes(tar(file("c")))
    assert "the blob's content" in bench.refusal(stack).message


@pytest.mark.parametrize("compression", ["gzip", "zstd", "xz", "bzip2"])
def test_memory_stays_bounded_whatever_a_blob_expands_to(bench: Bench, compression: str) -> None:
    head, zeros = header(b"zeros", size=b"%o" % (400 << 20)), bytes(1 << 20)
    compress = tars.COMPRESSIONS[compression]
    content = compress(head) + compress(zeros) * 400 + compress(END)
    if compression == "zstd":  # one frame, whose blocks expand 32,768-fold
        frame = zstandard.ZstdCompressor().compressobj()
        content = b"".join(map(frame.compress, [head, *[zeros] * 400, END])) + frame.flush()
    stack = tars.blob(bench.blobs, content)
    tracemalloc.start()
    with decompress.Blob(stack.blob_of(stack.layers[0].digest)) as blob:
        assert [member.size for member in members(decompress.Content(blob))] == [400 << 20]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 << 20


def test_no_thread_is_left_when_unpacking_is_told_to_stop(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the threads wait for room: what they have made is many times what they may keep."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    stack = tars.stack(bench.blobs, tar(file("zeros", bytes(50 << 20))), compression="gzip")
    monkeypatch.setattr("reconciler.host.layers.unpack._place", stop)
    with pytest.raises(KeyboardInterrupt):
        bench.unpack(stack)
