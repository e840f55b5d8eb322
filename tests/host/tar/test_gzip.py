"""gzip by all processors: any decoder reads it, and the number of processors changes nothing."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.host.tar.decompress import Blob, Content
from reconciler.host.tar.gzip import GzipWriter

if TYPE_CHECKING:
    from pathlib import Path

WORDS = [b"layer ", b"of ", b"an ", b"extension ", b"\0\0\0\0", b"\n"]


def _pieces(count: int) -> list[bytes]:
    """The same each time, and of the kind that refers to what was before."""
    choose = random.Random(7)  # noqa: S311 - not for secrets
    return [b"".join(choose.choices(WORDS, k=9000)) for _ in range(count)]


def _compressed(pieces: list[bytes]) -> bytes:
    with GzipWriter() as writer:
        return b"".join([*map(writer.compress, pieces), writer.flush()])


@pytest.mark.commands
@pytest.mark.parametrize("pieces", [[], [b"x"], _pieces(1), _pieces(40)], ids=["nothing", "a byte", "one", "many"])
def test_any_decoder_reads_it(pieces: list[bytes], tmp_path: Path) -> None:
    packed, content = _compressed(pieces), b"".join(pieces)
    assert gzip.decompress(packed) == content
    assert subprocess.run(["gzip", "--decompress"], input=packed, capture_output=True, check=True).stdout == content
    (tmp_path / "blob").write_bytes(packed)
    with Blob(tmp_path / "blob") as blob:
        assert Content(blob).read(len(content) + 1) == content


def test_it_is_as_small_as_in_one_go() -> None:
    pieces = _pieces(40)
    assert len(_compressed(pieces)) < 1.02 * len(gzip.compress(b"".join(pieces), 6))


def test_the_number_of_processors_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for count in (1, 2, 7, None):
        monkeypatch.setattr(os, "cpu_count", lambda count=count: count)
        found.add(_compressed(_pieces(20)))
    assert len(found) == 1
