"""Images that are wrong at one level: index, manifest, configuration, layers; with words of the message."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any, Final

from tests.host import tars
from tests.host.hostile.layouts import GZIP, LAYER, NO_DIGEST, Draft, Layout
from tests.host.tars import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.host.hostile.layouts import Document

_DEEP: Final = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
_OTHER: Final = gzip.compress(tars.tar(tars.file("other")), mtime=0)
_LAYER_WORDS: Final = "layer sha256:"
_NO_MANIFEST: Final = "the source's manifest is neither an OCI nor a Docker schema 2 manifest"
_OTHER_MANIFEST: Final = "the manifest's content has the digest sha256:"
_MISSING: Final = "the image has a part that is missing"
_DIGEST: Final = "its content is not what its digest says"
_BROKEN: Final = "the image cannot be read"
_UNREADABLE: Final = "the image's configuration is unreadable"


def _bytes(content: bytes) -> Callable[[Document], bytes]:
    return lambda _: content


def _with(*path: str | int, value: Any) -> Callable[[Document], Document]:  # noqa: ANN401 - JSON
    """A document with one value replaced."""

    def change(document: Document) -> Document:
        here: Any = document
        for step in path[:-1]:
            here = here[step]
        here[path[-1]] = value
        return document

    return change


def _without(*path: str | int) -> Callable[[Document], Document]:
    def change(document: Document) -> Document:
        here: Any = document
        for step in path[:-1]:
            here = here[step]
        del here[path[-1]]
        return document

    return change


def _many_layers(count: int) -> Callable[[Document], Document]:
    return lambda document: {**document, "layers": document["layers"] * count}


def _missing(part: str) -> Callable[[Layout], object]:
    return lambda layout: layout.blob(part).unlink()


def _replaced(part: str, content: bytes) -> Callable[[Layout], object]:
    """Other content under the same name, of the same length."""

    def change(layout: Layout) -> None:
        size = layout.blob(part).stat().st_size
        layout.blob(part).write_bytes(content[:size].ljust(size, b" "))

    return change


def _spaced(part: str) -> Callable[[Layout], object]:
    """Something that reads the same, but is not the same."""
    return lambda layout: layout.blob(part).write_bytes(layout.blob(part).read_bytes() + b"\n")


def _flipped(part: str) -> Callable[[Layout], object]:
    def change(layout: Layout) -> None:
        data = bytearray(layout.blob(part).read_bytes())
        data[len(data) // 2] ^= 1
        layout.blob(part).write_bytes(data)

    return change


def _cut(part: str) -> Callable[[Layout], object]:
    return lambda layout: layout.blob(part).write_bytes(layout.blob(part).read_bytes()[:-7])


def _instead(part: str, make: str) -> Callable[[Layout], object]:
    """Something else than a file."""

    def change(layout: Layout) -> None:
        layout.blob(part).unlink()
        if make == "directory":
            layout.blob(part).mkdir()
        else:
            layout.blob(part).symlink_to(make)

    return change


def _unpacked(layer: bytes, *, blob: bytes | None = None) -> Draft:
    """An image with this layer, all digests right."""
    packed = gzip.compress(layer, mtime=0) if blob is None else blob
    return Draft(layer=packed, config=_with("rootfs", "diff_ids", value=[digest(layer)]))


IMAGES: Final[dict[str, tuple[Draft, str]]] = {
    # index.json
    "index: no JSON": (Draft(index=_bytes(b"{")), _BROKEN),
    "index: empty": (Draft(index=_bytes(b"")), _BROKEN),
    "index: a list": (Draft(index=_bytes(b"[]")), _BROKEN),
    "index: nested deeply": (Draft(index=_bytes(_DEEP)), _BROKEN),
    "index: nothing in it": (Draft(index=_with("manifests", value=[])), "there is no such image"),
    "index: manifests of another type": (Draft(index=_with("manifests", value="x")), _BROKEN),
    "index: a digest that is none": (Draft(index=_with("manifests", 0, "digest", value="sha256:xyz")), _BROKEN),
    "index: a digest that leads out": (
        Draft(index=_with("manifests", 0, "digest", value="sha256:../../../x")),
        _BROKEN,
    ),
    "index: a digest that is a number": (Draft(index=_with("manifests", 0, "digest", value=5)), _BROKEN),
    "index: a manifest nobody has": (
        Draft(index=_with("manifests", 0, "digest", value=NO_DIGEST)),
        "there is no such image",
    ),
    "index: a digest of another algorithm": (
        Draft(index=_with("manifests", 0, "digest", value="md5:" + "a" * 32)),
        _BROKEN,
    ),
    "index: another tag": (
        Draft(index=_with("manifests", 0, "annotations", value={"org.opencontainers.image.ref.name": "v2"})),
        "there is no such image",
    ),
    "index: no layout": (Draft(disk=lambda layout: (layout.path / "index.json").unlink()), "there is no such image"),
    # A manifest
    "manifest: missing": (Draft(disk=_missing("manifest")), "there is no such image"),
    "manifest: a directory": (Draft(disk=_instead("manifest", "directory")), _BROKEN),
    "manifest: a link out": (Draft(disk=_instead("manifest", "/etc/passwd")), _OTHER_MANIFEST),
    "manifest: flipped": (Draft(disk=_flipped("manifest")), _OTHER_MANIFEST),
    "manifest: another one": (
        Draft(disk=_replaced("manifest", b'{"schemaVersion": 2, "layers": []}')),
        _OTHER_MANIFEST,
    ),
    "manifest: the same with a space": (Draft(disk=_spaced("manifest")), _OTHER_MANIFEST),
    "manifest: no JSON": (Draft(manifest=_bytes(b"{")), _NO_MANIFEST),
    "manifest: empty": (Draft(manifest=_bytes(b"")), _NO_MANIFEST),
    "manifest: null": (Draft(manifest=_bytes(b"null")), _NO_MANIFEST),
    "manifest: a list": (Draft(manifest=_bytes(b"[]")), _NO_MANIFEST),
    "manifest: a text": (Draft(manifest=_bytes(b'"layers"')), _NO_MANIFEST),
    "manifest: nested deeply": (Draft(manifest=_bytes(_DEEP)), _NO_MANIFEST),
    "manifest: nested deeply in a value": (
        Draft(manifest=lambda it: json.dumps(it)[:-1].encode() + b', "x": ' + _DEEP + b"}"),
        _NO_MANIFEST,
    ),
    "manifest: not UTF-8": (Draft(manifest=_bytes(b'{"layers": "\xff"}')), _NO_MANIFEST),
    "manifest: of Docker's first schema": (
        Draft(manifest=_bytes(b'{"schemaVersion": 1, "fsLayers": [{"blobSum": "sha256:x"}], "history": []}')),
        _NO_MANIFEST,
    ),
    "manifest: an index, too": (Draft(manifest=lambda it: {**it, "manifests": []}), _NO_MANIFEST),
    "manifest: no layers": (Draft(manifest=_without("layers")), _NO_MANIFEST),
    "manifest: layers of another type": (Draft(manifest=_with("layers", value={"a": 1})), _NO_MANIFEST),
    "manifest: layers of null": (Draft(manifest=_with("layers", value=None)), _NO_MANIFEST),
    "manifest: a layer of null": (Draft(manifest=_with("layers", 0, value=None)), _NO_MANIFEST),
    "manifest: a layer without a digest": (Draft(manifest=_without("layers", 0, "digest")), _NO_MANIFEST),
    "manifest: a layer whose digest leads out": (
        Draft(manifest=_with("layers", 0, "digest", value="sha256:../../../../outside/x")),
        _NO_MANIFEST,
    ),
    "manifest: a layer whose digest breaks the line": (
        Draft(manifest=_with("layers", 0, "digest", value="sha256:\n\x1b[31mx")),
        _NO_MANIFEST,
    ),
    "manifest: a layer whose digest is a list": (
        Draft(manifest=_with("layers", 0, "digest", value=["sha256"])),
        _NO_MANIFEST,
    ),
    "manifest: a layer of a size in words": (Draft(manifest=_with("layers", 0, "size", value="large")), _NO_MANIFEST),
    "manifest: a layer of a size below zero": (Draft(manifest=_with("layers", 0, "size", value=-1)), _NO_MANIFEST),
    "manifest: a layer of an infinite size": (
        Draft(
            manifest=lambda it: json.dumps(_with("layers", 0, "size", value=7)(it)).replace(": 7", ": 1e999").encode()
        ),
        _NO_MANIFEST,
    ),
    "manifest: a layer of a size of 5,000 digits": (
        Draft(
            manifest=lambda it: (
                json.dumps(_with("layers", 0, "size", value=7)(it)).replace(": 7", ": " + "9" * 5000).encode()
            )
        ),
        _NO_MANIFEST,
    ),
    "manifest: a layer that is larger": (
        Draft(manifest=_with("layers", 0, "size", value=1 << 20)),
        "the blob has 183 bytes, the image's manifest says 1048576",
    ),
    "manifest: a layer that is larger than any disk": (
        Draft(manifest=_with("layers", 0, "size", value=1 << 60)),
        "needs more than 1048576T",
    ),
    "manifest: a layer that is smaller": (
        Draft(manifest=_with("layers", 0, "size", value=1)),
        "the blob has 183 bytes, the image's manifest says 1",
    ),
    "manifest: a layer nobody has": (Draft(manifest=_with("layers", 0, "digest", value=NO_DIGEST)), _MISSING),
    "manifest: too many layers": (Draft(manifest=_many_layers(1001)), "the image has 1001 layers, more than 1000"),
    "manifest: a layer twice": (Draft(manifest=_many_layers(2)), "counts 1 layers, its manifest 2"),
    "manifest: no configuration": (Draft(manifest=_without("config")), _NO_MANIFEST),
    "manifest: configuration of another type": (Draft(manifest=_with("config", value="x")), _NO_MANIFEST),
    "manifest: a configuration nobody has": (Draft(manifest=_with("config", "digest", value=NO_DIGEST)), _MISSING),
    "manifest: a configuration whose digest leads out": (
        Draft(manifest=_with("config", "digest", value="sha256:" + "../" * 10 + "etc/passwd")),
        _NO_MANIFEST,
    ),
    # An index between
    "platforms: no JSON": (Draft(above=_bytes(b"{")), _NO_MANIFEST),
    "platforms: none": (Draft(above=_with("manifests", value=[])), "it has none"),
    "platforms: another": (
        Draft(above=_with("manifests", 0, "platform", "architecture", value="vax")),
        "has no linux/",
    ),
    "platforms: words that break the line": (
        Draft(above=_with("manifests", 0, "platform", "architecture", value="vax\n\x1b[31m\u202e")),
        "it has linux/vax\\n\\x1b[31m\\u202e",
    ),
    "platforms: of numbers": (
        Draft(above=_with("manifests", 0, "platform", value={"os": 1, "architecture": 2})),
        _NO_MANIFEST,
    ),
    "platforms: a text": (Draft(above=_with("manifests", 0, "platform", value="linux/amd64")), _NO_MANIFEST),
    "platforms: without os": (Draft(above=_without("manifests", 0, "platform", "os")), _NO_MANIFEST),
    "platforms: 3,000 others": (
        Draft(
            above=lambda it: {
                **it,
                "manifests": [
                    {**it["manifests"][0], "platform": {"os": "linux", "architecture": f"vax{number}"}}
                    for number in range(3000)
                ],
            }
        ),
        "and 2980 more",
    ),
    "platforms: a manifest nobody has": (Draft(above=_with("manifests", 0, "digest", value=NO_DIGEST)), _MISSING),
    "platforms: a manifest, too": (Draft(above=lambda it: {**it, "layers": [], "config": {}}), _NO_MANIFEST),
    "platforms: flipped": (Draft(above=lambda it: it, disk=_flipped("above")), _OTHER_MANIFEST),
    "platforms: the same with a space": (Draft(above=lambda it: it, disk=_spaced("above")), _OTHER_MANIFEST),
    "platforms: a manifest with a space": (Draft(above=lambda it: it, disk=_spaced("manifest")), _DIGEST),
    "platforms: a manifest that is flipped": (Draft(above=lambda it: it, disk=_flipped("manifest")), _DIGEST),
    "platforms: missing": (Draft(above=lambda it: it, disk=_missing("above")), "there is no such image"),
    # The configuration
    "configuration: missing": (Draft(disk=_missing("config")), _MISSING),
    "configuration: flipped": (Draft(disk=_flipped("config")), _DIGEST),
    "configuration: cut": (Draft(disk=_cut("config")), _DIGEST),
    "configuration: a link out": (Draft(disk=_instead("config", "/etc/passwd")), _DIGEST),
    "configuration: the same with a space": (Draft(disk=_spaced("config")), _DIGEST),
    "configuration: no JSON": (Draft(config=_bytes(b"{")), _UNREADABLE),
    "configuration: empty": (Draft(config=_bytes(b"")), _UNREADABLE),
    "configuration: a list": (Draft(config=_bytes(b"[]")), _UNREADABLE),
    "configuration: null": (Draft(config=_bytes(b"null")), _UNREADABLE),
    "configuration: nested deeply": (Draft(config=_bytes(_DEEP)), _UNREADABLE),
    "configuration: not UTF-8": (Draft(config=_bytes(b'{"os": "\xff"}')), _UNREADABLE),
    "configuration: os of a number": (Draft(config=_with("os", value=5)), _UNREADABLE),
    "configuration: another machine": (Draft(config=_with("architecture", value="vax")), "is an image for linux/vax"),
    "configuration: a machine that breaks the line": (
        Draft(config=_with("architecture", value="v\n\x1b[2Jx")),
        "is an image for linux/v\\n\\x1b[2jx",
    ),
    "configuration: rootfs of another type": (Draft(config=_with("rootfs", value="x")), "lists no diff_ids"),
    "configuration: no diff_ids": (Draft(config=_without("rootfs", "diff_ids")), "lists no diff_ids"),
    "configuration: diff_ids of null": (Draft(config=_with("rootfs", "diff_ids", value=None)), "lists no diff_ids"),
    "configuration: too few diff_ids": (Draft(config=_with("rootfs", "diff_ids", value=[])), "counts 0 layers"),
    "configuration: too many diff_ids": (
        Draft(config=_with("rootfs", "diff_ids", value=[digest(LAYER)] * 2)),
        "counts 2 layers, its manifest 1",
    ),
    "configuration: a wrong diff_id": (
        Draft(config=_with("rootfs", "diff_ids", value=[NO_DIGEST])),
        f"unpacks to {digest(LAYER)}",
    ),
    "configuration: a diff_id that is none": (
        Draft(config=_with("rootfs", "diff_ids", value=["x"])),
        "lists no diff",
    ),
    "configuration: a diff_id of a number": (
        Draft(config=_with("rootfs", "diff_ids", value=[5])),
        "lists no diff_ids",
    ),
    # A layer
    "layer: missing": (Draft(disk=_missing("layer")), _MISSING),
    "layer: flipped": (Draft(disk=_flipped("layer")), _DIGEST),
    "layer: cut": (Draft(disk=_cut("layer")), _DIGEST),
    "layer: another one": (Draft(disk=_replaced("layer", _OTHER)), _DIGEST),
    "layer: a directory": (Draft(disk=_instead("layer", "directory")), _BROKEN),
    "layer: a link out": (Draft(disk=_instead("layer", "/etc/passwd")), _DIGEST),
    "layer: no archive": (_unpacked(b"<html>" * 200), f"{_LAYER_WORDS}"),
    "layer: leads out": (_unpacked(tars.tar(tars.file("../../../outside/sentinel", b"x"))), "sentinel: has .."),
    "layer: through a link out": (
        _unpacked(tars.tar(tars.symlink("usr", "../../../../outside"), tars.file("usr/sentinel", b"x"))),
        "usr/sentinel: its parent usr is a symbolic link that leads out of the image",
    ),
    "layer: deeper than Python's stack": (
        _unpacked(tars.tar(*[tars.file("d/" * depth + "x") for depth in (10, 250, 1500)])),
        "is more than 256 directories deep",
    ),
    "layer: a device": (_unpacked(tars.tar(tars.Entry("usr/null", b"3"))), "usr/null: is a character device"),
    "layer: a bomb": (
        _unpacked(tars.header(b"zeros", size=b"%o" % (80 << 20)) + bytes(80 << 20) + tars.END),
        "unpacks to more than 200 times its size",
    ),
    "layer: cut, with digests that fit": (_unpacked(LAYER, blob=gzip.compress(LAYER, mtime=0)[:-9]), "is cut off"),
    "layer: of a media type nobody knows": (
        Draft(layer=b"x" * 2000, manifest=_with("layers", 0, "mediaType", value="application/x-evil\n\x1b[31m")),
        "not an image of an extension",
    ),
    "layer: said to be zstd, is text": (
        Draft(layer=b"x" * 2000, manifest=_with("layers", 0, "mediaType", value=GZIP.replace("gzip", "zstd"))),
        "it is no tar archive",
    ),
}
