"""Each source and each format merged for real: what is fetched, what is made of it, and what never gets that far."""

from __future__ import annotations

import gzip
import lzma
from typing import TYPE_CHECKING

import pytest
import zstandard

from tests.rig import diskimages
from tests.rig.images import Member, command

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]

PACKED: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "gz": lambda content: gzip.compress(content, 1),
    "xz": lambda content: lzma.compress(content, preset=0),
    "zst": lambda content: zstandard.ZstdCompressor().compress(content),
}


def _image(scratch: Path, kind: str, name: str = "tool") -> bytes:
    """An image file of an extension whose command says its own name."""
    tree = diskimages.extension_tree(scratch / f"{name}-tree", name)
    if kind != "disk":
        return diskimages.MAKERS[kind](tree, scratch / f"{name}.{kind}").read_bytes()
    root = diskimages.squashfs(tree, scratch / f"{name}.squashfs").read_bytes()
    return diskimages.disk([diskimages.Part(diskimages.ROOT, root)])


def _want(bench: Bench, **fields: str) -> None:
    inner = ", ".join(f"{key}: {value if value == 'true' else repr(value)}" for key, value in fields.items())
    bench.configure(f"settings: {{allow_empty: true}}\nextensions: {{tool: {{{inner}}}}}\n")


def _placed(bench: Bench) -> list[str]:
    return sorted(path.name for path in bench.namespace.path("/var/lib/extensions").iterdir())


@pytest.mark.parametrize("kind", ["squashfs", "erofs", "ext4", "btrfs", "disk"])
def test_an_artifact_with_an_image_file_is_merged(bench: Bench, tmp_path: Path, kind: str) -> None:
    _want(bench, source=bench.push_artifact("v1", _image(tmp_path, kind)), format="raw")
    bench.livelayer("apply")
    assert bench.says("tool") == "tool"
    assert _placed(bench) == ["tool.raw"]
    assert bench.livelayer("plan").stdout == "in sync\n"
    _want(bench, source=bench.push_artifact("v1", _image(tmp_path, kind)), format="auto")
    assert bench.livelayer("plan").stdout == "in sync\n"
    bench.configure("settings: {allow_empty: true}\nextensions: {}\n")
    bench.livelayer("apply")
    assert (bench.merged(), _placed(bench)) == ([], [])


@pytest.mark.parametrize("packing", PACKED)
def test_an_image_file_may_be_compressed(bench: Bench, tmp_path: Path, packing: str) -> None:
    packed = PACKED[packing](_image(tmp_path, "erofs"))
    _want(bench, source=bench.push_artifact(packing, packed), format="raw")
    bench.livelayer("apply")
    assert bench.says("tool") == "tool"


def test_a_container_image_may_carry_an_image_file(bench: Bench, tmp_path: Path) -> None:
    image = _image(tmp_path, "squashfs")
    _want(bench, source=bench.push("sole", [Member("srv/tool.img", image)]), format="raw")
    bench.livelayer("apply")
    assert bench.says("tool") == "tool"
    _want(bench, source=bench.push("two", [Member("a.raw", image), Member("readme", b"x")]), format="raw")
    told = bench.livelayer("apply", status=1).stderr
    assert "the image has 2 files; format: raw takes an image whose only file is an image file" in told
    assert bench.says("tool") == "tool"


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda image: image[:512], "cut off"),
        (lambda _image: b"", "empty"),
        (lambda _image: b"<html>not found</html>" * 100, "HTML"),
        (lambda image: gzip.compress(image)[:-20], "cut off"),
    ],
    ids=["truncated", "empty", "web page", "truncated gzip"],
)
def test_a_bad_image_never_reaches_the_search_directory(
    bench: Bench, tmp_path: Path, spoil: Callable[[bytes], bytes], words: str
) -> None:
    good = bench.push("good", command("good", "good"), name="good")
    bad = bench.push_artifact("bad", spoil(_image(tmp_path, "squashfs")))
    bench.configure(f"extensions: {{good: {{source: '{good}'}}, tool: {{source: '{bad}', format: raw}}}}\n")
    told = bench.livelayer("apply", status=1).stderr
    assert words in told
    assert (bench.says("good"), _placed(bench)) == ("good", ["good"])
    assert bench.status()["tool"]["state"] == "failed"
    staging = bench.namespace.path("/var/lib/livelayer/staging")
    assert list(staging.iterdir()) == []


def test_what_an_image_file_holds_is_judged_before_it_is_placed(bench: Bench, tmp_path: Path) -> None:
    _want(bench, source=bench.push_artifact("other", _image(tmp_path, "ext4", "other")), format="raw")
    told = bench.livelayer("apply", status=1).stderr
    assert "the content's release file is extension-release.other, not extension-release.tool" in told
    assert _placed(bench) == []
    _want(bench, source=bench.push_artifact("other", _image(tmp_path, "ext4", "other")), format="raw", rename="true")
    assert "rename: true cannot change an image file" in bench.livelayer("apply", status=1).stderr


def test_an_artifact_cannot_be_a_directory(bench: Bench, tmp_path: Path) -> None:
    _want(bench, source=bench.push_artifact("v1", _image(tmp_path, "squashfs")))
    told = bench.livelayer("plan", status=1).stderr
    assert "the source is an image file, which cannot be had as directory" in told
    assert "set format: raw" in told
