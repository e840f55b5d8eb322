"""Container images made from nothing and without a tool: deterministic, so that their digests can be compared."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal

import zstandard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MTIME: Final = 1_700_000_000
"""The modification time of every member: any fixed one makes the bytes, and so the digests, the same each time."""

Kind = Literal["file", "dir", "symlink", "hardlink", "char", "fifo"]
Compression = Literal["gzip", "zstd", "none"]

_TYPES: Final[Mapping[Kind, bytes]] = {
    "file": tarfile.REGTYPE,
    "dir": tarfile.DIRTYPE,
    "symlink": tarfile.SYMTYPE,
    "hardlink": tarfile.LNKTYPE,
    "char": tarfile.CHRTYPE,
    "fifo": tarfile.FIFOTYPE,
}
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_INDEX: Final = "application/vnd.oci.image.index.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_SUFFIXES: Final[Mapping[Compression, str]] = {"gzip": "+gzip", "zstd": "+zstd", "none": ""}
_REF_NAME: Final = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a layer; a "char" is always device 0:0, overlayfs's own whiteout."""

    name: str
    content: bytes = b""
    mode: int = 0o644
    kind: Kind = "file"
    target: str = ""
    uid: int = 0
    gid: int = 0
    mtime: int = MTIME
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


def tar_layer(members: Sequence[Member]) -> bytes:
    """A layer as an uncompressed PAX tar, its members in the order and with the names given, wicked ones too."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for member in members:
            archive.addfile(_header(member), io.BytesIO(member.content))
    return buffer.getvalue()


def extension(
    name: str, files: Mapping[str, bytes | str], release: str = "ID=_any\n", release_name: str | None = None
) -> tuple[Member, ...]:
    """A system extension's members: parents, files (executable below a bin or sbin), and the release file.

    `release_name` is for images whose release file is called otherwise than the extension.
    """
    release_file = f"usr/lib/extension-release.d/extension-release.{release_name or name}"
    contents = {**files, release_file: release}
    parents = sorted({str(parent) for path in contents for parent in PurePosixPath(path).parents if parent.name})
    return (*(Member(parent, mode=0o755, kind="dir") for parent in parents), *map(_file, contents, contents.values()))


def write_layout(
    layout: Path,
    tag: str,
    layers: Sequence[bytes],
    *,
    platform: str = "linux/amd64",
    compression: Compression = "gzip",
) -> str:
    """Put an image into an OCI layout, made if need be, in place of the tag's former one; returns its digest."""
    descriptor = _write_manifest(layout, layers, platform, compression)
    _tag(layout, tag, descriptor)
    return str(descriptor["digest"])


def write_index(layout: Path, tag: str, platforms: Mapping[str, Sequence[bytes]]) -> tuple[str, dict[str, str]]:
    """Put an image for several platforms into an OCI layout; returns the index's digest and the manifests'."""
    entries = [
        {**_write_manifest(layout, layers, platform, "gzip"), "platform": _platform(platform)}
        for platform, layers in platforms.items()
    ]
    descriptor = _put_json(layout, {"schemaVersion": 2, "mediaType": _INDEX, "manifests": entries}, _INDEX)
    _tag(layout, tag, descriptor)
    return str(descriptor["digest"]), {
        platform: str(entry["digest"]) for platform, entry in zip(platforms, entries, strict=True)
    }


def _header(member: Member) -> tarfile.TarInfo:
    info = tarfile.TarInfo(member.name)
    info.type, info.mode, info.mtime = _TYPES[member.kind], member.mode, member.mtime
    info.uid, info.gid, info.linkname, info.size = member.uid, member.gid, member.target, len(member.content)
    # Bytes that are not UTF-8, as in capabilities, survive as surrogates, which tarfile turns back.
    info.pax_headers = {
        f"SCHILY.xattr.{name}": value.decode(errors="surrogateescape") for name, value in member.xattrs.items()
    }
    return info


def _file(path: str, content: bytes | str) -> Member:
    program = not {"bin", "sbin"}.isdisjoint(PurePosixPath(path).parts[:-1])
    return Member(path, content.encode() if isinstance(content, str) else content, 0o755 if program else 0o644)


def _write_manifest(layout: Path, layers: Sequence[bytes], platform: str, compression: Compression) -> dict[str, Any]:
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = {**_platform(platform), "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _put_json(layout, config, _CONFIG),
        "layers": [_put(layout, _compress(layer, compression), _LAYER + _SUFFIXES[compression]) for layer in layers],
    }
    return _put_json(layout, manifest, _MANIFEST)


def _platform(platform: str) -> dict[str, str]:
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))


def _compress(layer: bytes, compression: Compression) -> bytes:
    match compression:
        case "gzip":
            return gzip.compress(layer, mtime=0)
        case "zstd":
            return zstandard.compress(layer)
        case "none":
            return layer


def _tag(layout: Path, tag: str, descriptor: Mapping[str, Any]) -> None:
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    index = layout / "index.json"
    entries = json.loads(index.read_text())["manifests"] if index.exists() else []
    kept = [entry for entry in entries if entry["annotations"][_REF_NAME] != tag]
    document = {"schemaVersion": 2, "manifests": [*kept, {**descriptor, "annotations": {_REF_NAME: tag}}]}
    index.write_text(json.dumps(document))


def _put_json(layout: Path, document: Mapping[str, object], media_type: str) -> dict[str, Any]:
    return _put(layout, json.dumps(document, sort_keys=True).encode(), media_type)


def _put(layout: Path, content: bytes, media_type: str) -> dict[str, Any]:
    digest = hashlib.sha256(content).hexdigest()
    blob = layout / "blobs" / "sha256" / digest
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}
