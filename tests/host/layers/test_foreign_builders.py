"""Layers as builders write them that have their own ways: what is unpacked, in one pass and layer by layer."""

from __future__ import annotations

import logging
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

from reconciler.host.layers.flatten import in_one_pass
from reconciler.model.content.limits import DEFAULT
from tests.host import tars
from tests.host.layers.unpacking import Bench, needs_root
from tests.host.tars import END, Entry, directory, file, hard_link, header, padded, tar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.host.layers.flatten import Flattened

pytestmark = needs_root

LOCAL = b"usr/x"
CASES: dict[str, tuple[Sequence[bytes], dict[str, str]]] = {
    "kaniko: the root in every layer, and whiteouts": (
        [
            tar(directory("/"), directory("/usr/"), file("/usr/x", b"1"), file("/usr/y", b"2")),
            tar(directory("/"), directory("/usr/"), file("/usr/.wh.y")),
        ],
        {"usr": "/", "usr/x": "1"},
    ),
    "tar -P: hard links, too": (
        [tar(file("/usr/x", b"1"), hard_link("/usr/y", "/usr/x"))],
        {"usr": "/", "usr/x": "1", "usr/y": "1"},
    ),
    "an empty layer": ([tar(file("usr/x", b"1")), b""], {"usr": "/", "usr/x": "1"}),
    "an empty layer below": ([b"", tar(file("usr/x", b"1"))], {"usr": "/", "usr/x": "1"}),
    "eStargz": (
        [tar(file(".prefetch.landmark", b"\xf0"), file("usr/x", b"1"), file("stargz.index.json", b"{}"))],
        {"usr": "/", "usr/x": "1"},
    ),
    "eStargz, nothing to fetch first": (
        [tar(file("./.no.prefetch.landmark", b"\xf0"), file("./usr/x", b"1"), file("./stargz.index.json", b"{}"))],
        {"usr": "/", "usr/x": "1"},
    ),
    "no padding in the last block": ([header(LOCAL, size=b"1") + b"1"], {"usr": "/", "usr/x": "1"}),
    "half a block in the end": ([header(LOCAL, size=b"1") + padded(b"1") + END[:700]], {"usr": "/", "usr/x": "1"}),
    "a quarter of a block in the end": (
        [header(LOCAL, size=b"1") + padded(b"1") + END[:100]],
        {"usr": "/", "usr/x": "1"},
    ),
    "a device that is deleted": (
        [tar(Entry("dev/null", tarfile.CHRTYPE), file("usr/x", b"1")), tar(file("dev/.wh.null"))],
        {"dev": "/", "usr": "/", "usr/x": "1"},
    ),
    "a FIFO whose directory is deleted": (
        [tar(Entry("run/a/pipe", tarfile.FIFOTYPE), file("usr/x", b"1")), tar(file(".wh.run"))],
        {"usr": "/", "usr/x": "1"},
    ),
    "a device whose directory becomes opaque": (
        [tar(Entry("dev/sda", tarfile.BLKTYPE)), tar(file("dev/.wh..wh..opq"), file("usr/x", b"1"))],
        {"dev": "/", "usr": "/", "usr/x": "1"},
    ),
    "a device that is replaced": (
        [tar(Entry("usr/x", tarfile.CHRTYPE)), tar(file("usr/x", b"1"))],
        {"usr": "/", "usr/x": "1"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_layer_is_taken_as_other_tools_take_it(tmp_path: Path, case: str) -> None:
    layers, expected = CASES[case]
    bench = Bench(tmp_path)
    stack = tars.stack(bench.blobs, *layers)
    found = bench.unpack(stack)
    assert {name: content.rstrip("\0") for name, content in found.items()} == expected

    def names(flattened: Flattened) -> set[str]:
        return {os.fsdecode(it.name.removeprefix(b"./").rstrip(b"/")) for it, _ in flattened.members} - {""}

    merged = in_one_pass(stack.layers, stack.blob_of, DEFAULT, names)
    assert merged is None or merged == set(expected)


@pytest.mark.parametrize(
    "layers",
    [
        [[Entry("dev/null", tarfile.CHRTYPE)], [file("usr/x")]],
        [[Entry("dev/null", tarfile.CHRTYPE), hard_link("dev/zero", "dev/null")], [file("dev/.wh.null")]],
        [[file("pipe")], [Entry("pipe", tarfile.FIFOTYPE)]],
    ],
)
def test_a_device_that_nothing_deletes_is_refused(tmp_path: Path, layers: list[list[Entry]]) -> None:
    bench = Bench(tmp_path)
    stack = tars.stack(bench.blobs, *(tar(*it) for it in layers))
    with pytest.raises(Exception, match="which no extension may contain"):
        bench.unpack(stack)


@pytest.mark.parametrize("name", ["system.nfs4_acl", "system.cifs_acl", "user.overlay.opaque"])
def test_an_attribute_that_nothing_here_keeps_is_left_out_and_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level(logging.WARNING)
    attributes = {f"SCHILY.xattr.{name}": "y", "SCHILY.xattr.user.kept": "1"}
    bench = Bench(tmp_path)
    found = bench.unpack_layers([file("usr/x", b"1", pax=attributes), directory("usr/d", pax=attributes)])
    assert found == {"usr": "/", "usr/x": "1", "usr/d": "/"}
    assert os.listxattr(tmp_path / "target/usr/x") == ["user.kept"]
    (told,) = caplog.messages
    assert f"usr/x: its extended attribute {name} is left out" in told
