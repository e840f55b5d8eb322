"""Layers that are merged as they are read are checked as a whole, whatever is made of their members."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid
from reconciler.host.layers.flatten import Flattened, flatten, in_one_pass
from reconciler.model.content.limits import Limits
from tests.host import tars
from tests.host.tars import tar

if TYPE_CHECKING:
    from pathlib import Path

FILES = [tars.file("a", b"one"), tars.file("b", hashlib.shake_128(b"bulk").digest(4 << 20))]


def _contents(flattened: Flattened) -> dict[bytes, bytes]:
    return {member.name: b"".join(chunks) for member, chunks in flattened.members if member.name != b"./"}


def test_members_that_nobody_takes_are_checked_all_the_same(tmp_path: Path) -> None:
    stack = tars.stack(tmp_path, tar(*FILES))
    assert in_one_pass(stack.layers, stack.blob_of, Limits(), lambda _: "made") == "made"
    (layer,) = stack.layers
    with pytest.raises(Invalid, match="unpacks to"):
        in_one_pass([replace(layer, diff_id=f"sha256:{'0' * 64}")], stack.blob_of, Limits(), lambda _: "made")


def test_a_blob_that_is_damaged_within_a_file_is_told_as_damaged(tmp_path: Path) -> None:
    """The member's content is read by who uses it, and yet it is the whole blob that is judged."""
    stack = tars.stack(tmp_path, tar(*FILES), compression="gzip")
    (layer,) = stack.layers
    blob = stack.blob_of(layer.digest)
    damaged = bytearray(blob.read_bytes())
    damaged[len(damaged) // 2 :] = bytes(len(damaged) - len(damaged) // 2)
    blob.write_bytes(damaged)
    with pytest.raises(Invalid, match="the blob's content has the digest"):
        in_one_pass(stack.layers, stack.blob_of, Limits(), _contents)


def test_what_one_pass_cannot_tell_is_used_as_a_tree(tmp_path: Path) -> None:
    """A name that occurs twice in a layer: the last one counts."""
    (tmp_path / "blobs").mkdir()
    stack = tars.stack(tmp_path / "blobs", tar(tars.file("a", b"old"), tars.file("a", b"new")))
    assert in_one_pass(stack.layers, stack.blob_of, Limits(), _contents) is None

    def read(tree: Path) -> dict[bytes, bytes]:
        return {b"a": (tree / "a").read_bytes()}

    used = flatten(stack.layers, stack.blob_of, tmp_path, Limits(), _contents, read)
    assert used == {b"a": b"new"}
