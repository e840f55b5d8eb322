"""OCI layouts: complete, the same for the same input, and as skopeo reads them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from backports import zstd

from reconciler.errors import Failed, Invalid
from reconciler.host.registry.layoutwriter import OciLayout
from reconciler.host.tar.fromtree import write_tree
from reconciler.host.tar.reader import Member
from reconciler.model.content.ociread import Platform
from reconciler.model.content.ociwrite import About, Compression
from reconciler.model.fit.filekind import FileKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.host.tar.writer import TarWriter

AMD64 = About(Platform("linux", "amd64"), 0, {"org.opencontainers.image.title": "x"})
ARM64 = About(Platform("linux", "arm64"))
DECOMPRESS = {Compression.GZIP: gzip.decompress, Compression.ZSTD: zstd.decompress}


def _one_file(content: bytes, writer: TarWriter) -> None:
    writer.add(Member(b"usr/x", FileKind.FILE, 0o755, 0, 0, 0, len(content), b"", {}), [content])


def _json(layout: Path, digest: str) -> Any:  # noqa: ANN401 - JSON
    return json.loads(_blob(layout, digest))


def _blob(layout: Path, digest: str) -> bytes:
    content = (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == digest
    return content


def _files(layout: Path) -> dict[str, bytes]:
    return {str(path.relative_to(layout)): path.read_bytes() for path in layout.rglob("*") if path.is_file()}


@pytest.mark.parametrize("compression", list(Compression))
def test_one_layer(tmp_path: Path, compression: Compression) -> None:
    layout = OciLayout(tmp_path / "oci")
    content = b"x" * (3 << 20)
    held = layout.finish(layout.add_image(partial(_one_file, content), AMD64, compression))
    (entry,) = json.loads((tmp_path / "oci/index.json").read_bytes())["manifests"]
    assert entry["digest"] == held.digest
    manifest = _json(tmp_path / "oci", held.digest)
    config = _json(tmp_path / "oci", manifest["config"]["digest"])
    (layer,) = manifest["layers"]
    packed = _blob(tmp_path / "oci", layer["digest"])
    assert len(packed) == layer["size"]
    archive = DECOMPRESS[compression](packed)
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(archive).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        file = members.extractfile("usr/x")
        assert file
        assert file.read() == content


@pytest.mark.parametrize("compression", list(Compression))
def test_the_same_tree_gives_the_same_bytes(tmp_path: Path, compression: Compression) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / f"tree/{name}").mkdir(parents=True)
        (tmp_path / f"tree/{name}/file").write_bytes(name.encode() * 700_000)
    for target in ("one", "two"):
        layout = OciLayout(tmp_path / target)
        layout.finish(layout.add_image(partial(write_tree, tmp_path / "tree"), AMD64, compression))
    assert _files(tmp_path / "one") == _files(tmp_path / "two")


def test_a_file_as_an_artifact(tmp_path: Path) -> None:
    file = tmp_path / "x.raw"
    file.write_bytes(b"hsqs" * 1000)
    layout = OciLayout(tmp_path / "oci")
    held = layout.finish(layout.add_artifact(file, "x.raw", "application/vnd.example.raw", AMD64))
    (layer,) = _json(tmp_path / "oci", held.digest)["layers"]
    assert layer["annotations"] == {"org.opencontainers.image.title": "x.raw"}
    assert layer["mediaType"] == "application/vnd.example.raw"
    assert _blob(tmp_path / "oci", layer["digest"]) == file.read_bytes()


@pytest.mark.commands
def test_several_platforms_as_skopeo_reads_them(tmp_path: Path) -> None:
    layout = OciLayout(tmp_path / "oci")
    images = [layout.add_image(partial(_one_file, text), about) for text, about in ((b"1", AMD64), (b"2", ARM64))]
    held = layout.finish(*images)
    index = _json(tmp_path / "oci", held.digest)
    assert [entry["platform"]["architecture"] for entry in index["manifests"]] == ["amd64", "arm64"]
    copy = ["skopeo", "copy", "--quiet", "--all", "--preserve-digests"]
    subprocess.run([*copy, f"oci:{tmp_path}/oci", f"dir:{tmp_path}/copy"], check=True)
    assert hashlib.sha256((tmp_path / "copy/manifest.json").read_bytes()).hexdigest() == held.digest[7:]


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(Invalid, match="is not empty"):
        OciLayout(tmp_path)


def test_what_breaks_off_leaves_no_blob(tmp_path: Path) -> None:
    def broken(writer: TarWriter) -> None:
        def chunks() -> Iterator[bytes]:
            yield b"x" * (1 << 20)
            raise Invalid("no more")

        writer.add(Member(b"x", FileKind.FILE, 0o644, 0, 0, 0, 2 << 20, b"", {}), chunks())

    layout = OciLayout(tmp_path / "oci")
    with pytest.raises(Invalid, match="no more"):
        layout.add_image(broken, AMD64)
    assert _files(tmp_path / "oci") == {}


@pytest.mark.commands
@pytest.mark.system
def test_a_full_disk(tmp_path: Path) -> None:
    """Whose end the compressing thread meets first."""
    (tmp_path / "oci").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path / "oci")], check=True)
    try:
        layout = OciLayout(tmp_path / "oci")
        with pytest.raises(Failed, match="No space left on device"):
            layout.add_image(partial(_one_file, _noise(8 << 20)), AMD64)
        assert _files(tmp_path / "oci") == {}
    finally:
        subprocess.run(["umount", str(tmp_path / "oci")], check=True)


def _noise(size: int) -> bytes:
    return b"".join(hashlib.sha256(bytes([at & 255, at >> 8 & 255, at >> 16])).digest() for at in range(size >> 5))
