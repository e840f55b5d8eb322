"""Files that grow, vanish, or never come."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Terminated, Unavailable
from reconciler.host.base import termination
from reconciler.host.layers.arrival import Arrival, arriving
from reconciler.model.content.ociread import Layer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"


def _arrival(tmp_path: Path, *digests: str) -> Arrival:
    (tmp_path / "blobs/sha256").mkdir(parents=True)
    (tmp_path / "layout").mkdir()
    return Arrival(tmp_path / "layout", tmp_path / "blobs", [Layer(digest, 6, "", None) for digest in digests])


def test_a_blob_is_read_while_it_grows(tmp_path: Path) -> None:
    arrival = _arrival(tmp_path, DIGEST)
    unfinished = tmp_path / "layout/oci-put-blob1"
    unfinished.write_bytes(b"abc")
    reader = arrival.blob(DIGEST).open("rb", 0)
    threading.Timer(0.05, lambda: unfinished.write_bytes(b"abcdef")).start()
    assert reader.read(100) == b"abcdef"
    assert reader.read(100) == b""
    reader.close()


def test_a_blob_that_was_given_up_ends(tmp_path: Path) -> None:
    arrival = _arrival(tmp_path, DIGEST)
    unfinished = tmp_path / "layout/oci-put-blob1"
    unfinished.write_bytes(b"abc")
    reader = arrival.blob(DIGEST).open("rb", 0)
    unfinished.unlink()
    assert reader.read(100) == b"abc"
    reader.close()


def test_one_of_several_is_read_only_once_it_is_complete(tmp_path: Path) -> None:
    arrival = _arrival(tmp_path, DIGEST, OTHER)
    (tmp_path / "layout/oci-put-blob1").write_bytes(b"other!")
    complete = tmp_path / "blobs/sha256" / ("a" * 64)
    threading.Timer(0.05, lambda: complete.write_bytes(b"abcdef")).start()
    reader = arrival.blob(DIGEST).open("rb", 0)
    assert reader.read(100) == b"abcdef"
    reader.close()


def test_a_blob_that_never_comes(tmp_path: Path) -> None:
    arrival = _arrival(tmp_path, DIGEST)
    with arriving(arrival, lambda: "copied") as copy, pytest.raises(Unavailable):
        arrival.blob(DIGEST).open("rb", 0)
    assert copy.result() == "copied"


def test_a_copy_that_fails_is_heard_of_afterwards(tmp_path: Path) -> None:
    def fail() -> None:
        raise Unavailable("no network")

    with arriving(_arrival(tmp_path, DIGEST), fail) as copy:
        pass
    with pytest.raises(Unavailable, match="no network"):
        copy.result()


@pytest.fixture
def ending() -> Iterator[None]:
    """A main thread that is about to end."""
    termination.request()
    yield
    termination.withdraw()


@pytest.mark.usefixtures("ending")
def test_nobody_waits_when_all_is_to_end(tmp_path: Path) -> None:
    arrival = _arrival(tmp_path, DIGEST)
    with pytest.raises(Terminated):
        arrival.blob(DIGEST).open("rb", 0)
    (tmp_path / "layout/oci-put-blob1").write_bytes(b"abc")
    reader = arrival.blob(DIGEST).open("rb", 0)
    with pytest.raises(Terminated):
        reader.read(100)
    reader.close()
