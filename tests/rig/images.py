"""Container images made from nothing, for tests, demo and benchmarks: deterministic, without any tool."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
_NAME: Final = "org.opencontainers.image.ref.name"
_MTIME: Final = 1_700_000_000


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a layer's tar."""

    name: str
    content: bytes = b""
    mode: int = 0o644
    kind: bytes = tarfile.REGTYPE
    target: str = ""
    pax: Mapping[str, str] = field(default_factory=dict)


def tar(members: Sequence[Member]) -> bytes:
    """A layer, uncompressed."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            info = tarfile.TarInfo(member.name)
            info.type, info.mode, info.mtime = member.kind, member.mode, _MTIME
            info.linkname, info.pax_headers = member.target, dict(member.pax)
            info.size = len(member.content)
            archive.addfile(info, io.BytesIO(member.content))
    return buffer.getvalue()


def extension(name: str, files: Mapping[str, str], release: str = "ID=_any\n") -> tuple[Member, ...]:
    """The members of an extension: files by path, those in a `bin` directory executable, and the release file."""
    release_file = f"usr/lib/extension-release.d/extension-release.{name}"
    everything = {**files, release_file: release}
    return tuple(
        Member(path, content.encode(), 0o755 if "bin/" in path else 0o644) for path, content in everything.items()
    )


def confext(name: str, files: Mapping[str, str], release: str = "ID=_any\n") -> tuple[Member, ...]:
    """The members of a configuration extension."""
    everything = {**files, f"etc/extension-release.d/extension-release.{name}": release}
    return tuple(Member(path, content.encode()) for path, content in everything.items())


def command(name: str, says: str, release: str = "ID=_any\n") -> tuple[Member, ...]:
    """An extension with one command of its own name."""
    return extension(name, {f"usr/bin/{name}": f"#!/bin/sh\necho '{says}'\n"}, release)


def write_image(layout: Path, tag: str, *layers: Sequence[Member], architecture: str = "amd64") -> str:
    """Add an image to an OCI layout, which is made if need be; returns the manifest's digest."""
    descriptor = _write_manifest(layout, [tar(layer) for layer in layers], architecture)
    _tag(layout, tag, descriptor)
    return str(descriptor["digest"])


def write_image_of_tars(layout: Path, tag: str, tars: Sequence[Path]) -> None:
    """Add an image of archives that are too large for memory, compressed by gzip(1) as registries have them."""
    layers, diff_ids = [], []
    for archive in tars:
        with archive.open("rb") as content:
            diff_ids.append(f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}")
        layers.append(_put_compressed(layout, archive))
    _tag(layout, tag, _put_manifest(layout, layers, diff_ids, "amd64"))


def write_index(layout: Path, tag: str, images: Mapping[str, Sequence[Member]]) -> str:
    """Add an image for several architectures, `amd64` or `amd64/v3`; returns the index's digest."""
    entries = []
    for name, layer in images.items():
        architecture, _, variant = name.partition("/")
        descriptor = _write_manifest(layout, [tar(layer)], architecture)
        platform = {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {})}
        entries.append({**descriptor, "platform": platform})
    descriptor = _put_json(layout, {"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}, _INDEX)
    _tag(layout, tag, descriptor)
    return str(descriptor["digest"])


def write_artifact(
    layout: Path,
    tag: str,
    *files: bytes,
    media_type: str = "application/vnd.example.extension",
    title: str = "extension.raw",
) -> str:
    """Add an artifact that holds files to an OCI layout, as `oras push` would; returns the manifest's digest."""
    blobs = [_put(layout, content, media_type) for content in files]
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "artifactType": "application/vnd.example.extension",
        "config": _put_json(layout, {}, "application/vnd.oci.empty.v1+json"),
        "layers": [{**blob, "annotations": {"org.opencontainers.image.title": title}} for blob in blobs],
    }
    descriptor = _put_json(layout, manifest, _MANIFEST)
    _tag(layout, tag, descriptor)
    return str(descriptor["digest"])


def _write_manifest(layout: Path, tars: Sequence[bytes], architecture: str) -> dict[str, Any]:
    layers = [_put(layout, gzip.compress(content, 6, mtime=0), _LAYER) for content in tars]
    diff_ids = [f"sha256:{hashlib.sha256(content).hexdigest()}" for content in tars]
    return _put_manifest(layout, layers, diff_ids, architecture)


def _put_manifest(
    layout: Path, layers: Sequence[dict[str, Any]], diff_ids: Sequence[str], architecture: str
) -> dict[str, Any]:
    rootfs = {"type": "layers", "diff_ids": diff_ids}
    config = {"os": "linux", "architecture": architecture, "config": {}, "rootfs": rootfs}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _put_json(layout, config, _CONFIG),
        "layers": layers,
    }
    return _put_json(layout, manifest, _MANIFEST)


def _tag(layout: Path, tag: str, descriptor: dict[str, Any]) -> None:
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    index = layout / "index.json"
    manifests = json.loads(index.read_text())["manifests"] if index.exists() else []
    kept = [entry for entry in manifests if entry["annotations"][_NAME] != tag]
    tagged = {**descriptor, "annotations": {_NAME: tag}}
    index.write_text(json.dumps({"schemaVersion": 2, "manifests": [*kept, tagged]}))


def _put_json(layout: Path, document: object, media_type: str) -> dict[str, Any]:
    return _put(layout, json.dumps(document, sort_keys=True).encode(), media_type)


def _put(layout: Path, content: bytes, media_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    blob = Path(layout, "blobs/sha256", digest)
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _put_compressed(layout: Path, archive: Path) -> dict[str, Any]:
    compressed = layout / "compressed"
    layout.mkdir(parents=True, exist_ok=True)
    with compressed.open("wb") as out:
        subprocess.run(["gzip", "--no-name", "--stdout", str(archive)], stdout=out, check=True)
    with compressed.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    blob = Path(layout, "blobs/sha256", digest)
    blob.parent.mkdir(parents=True, exist_ok=True)
    compressed.rename(blob)
    return {"mediaType": _LAYER, "digest": f"sha256:{digest}", "size": blob.stat().st_size}
