"""Extensions without end: each version's files follow from its name and number, so that whoever finds them can tell.

The standard library alone, since a guest has nothing of the tests but this module and the loop that uses it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# A tar archive, a directory, a container image, and an archive that becomes an image file.
NAMES: Final = ("archived", "copied", "layered", "packed")
_SIZES: Final = (0, 1, 100, 4095, 4096, 4097, 40_000, 150_000)  # bytes of the files of each version
_MODES: Final = (0o644, 0o755, 0o600, 0o444)
_TIME: Final = 1_700_000_000
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_TAG: Final = "latest"


def wanted(step: int) -> dict[str, int]:
    """Which extensions a step of the loop configures, by name with the number of the version."""
    numbers = {"archived": step, "copied": step // 2, "layered": step // 3, "packed": step // 4}
    absent = {1: "copied", 3: "packed", 5: "layered"}.get(step % 7)
    return {name: number for name, number in numbers.items() if name != absent}


def write_sources(directory: Path, step: int, named: Path) -> str:
    """Make the sources of a step, in place of those of an earlier one.

    Returns:
        A configuration of them, for which the directory is called `named`.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    extensions = {}
    for name, number in wanted(step).items():
        _write_source(directory / name, name, number)
        source = f"oci:{named}/{name}:{_TAG}" if name == "layered" else f"file://{named}/{name}"
        extensions[name] = {"source": source, "format": form(name, number), "pull": "always"}
    return json.dumps({"extensions": extensions})


def write_tree(directory: Path, name: str, number: int) -> None:
    """What a version consists of, as an extension ought to have it in the end."""
    for path, (data, mode) in _files(name, number).items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        file.chmod(mode)
    for path, target in _links(name, number).items():
        (directory / path).symlink_to(target)
    for parent, _, _ in os.walk(directory):
        Path(parent).chmod(0o755)


def source_digest(place: Path, name: str, number: int) -> str | None:
    """The hexadecimal digits of the digest by which the store calls a version; None: its source is a directory.

    The source is written to `place`, of which nothing may be there yet.
    """
    match name:
        case "archived" | "packed":
            return _sha256(_tar(name, number))
        case "layered":
            return _write_image(place, _tar(name, number))
        case _:
            write_tree(place, name, number)
            return None


def form(name: str, number: int) -> str:
    """The format of a version in the store; one of the extensions changes it every time."""
    return "erofs" if name == "packed" and number % 2 == 0 else "directory"


def _write_source(place: Path, name: str, number: int) -> None:
    match name:
        case "archived" | "packed":
            place.write_bytes(_tar(name, number))
        case "layered":
            _write_image(place, _tar(name, number))
        case _:
            write_tree(place, name, number)


def _files(name: str, number: int) -> dict[str, tuple[bytes, int]]:
    """Content and mode by path."""
    files = {
        f"usr/lib/extension-release.d/extension-release.{name}": (b"ID=_any\n", 0o644),
        f"usr/share/{name}/version": (f"{number}\n".encode(), 0o644),
    }
    for index, size in enumerate(_SIZES):
        block = hashlib.sha256(f"{name} {number} {index}".encode()).digest()
        data = (block * (size // len(block) + 1))[:size]
        files[f"usr/share/{name}/{index % 3}/{index}"] = (data, _MODES[(number + index) % len(_MODES)])
    return files


def _links(name: str, number: int) -> dict[str, str]:
    return {f"usr/share/{name}/largest": f"{number % 3}/{len(_SIZES) - 1}"}


def _tar(name: str, number: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, (data, mode) in _files(name, number).items():
            member = _member(path, mode)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for path, target in _links(name, number).items():
            member = _member(path, 0o777)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    return buffer.getvalue()


def _member(path: str, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.mode, member.mtime = mode, _TIME
    return member


def _write_image(layout: Path, layer: bytes) -> str:
    """An OCI layout with an image of one layer, not compressed; returns the hexadecimal digits of its digest."""
    config = {"os": "linux", "architecture": "amd64", "config": {}}
    config["rootfs"] = {"type": "layers", "diff_ids": [f"sha256:{_sha256(layer)}"]}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "config": _put(layout, _json(config), _CONFIG),
        "layers": [_put(layout, layer, _LAYER)],
    }
    described = _put(layout, _json(manifest), _MANIFEST)
    tagged = {**described, "annotations": {"org.opencontainers.image.ref.name": _TAG}}
    (layout / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    (layout / "index.json").write_bytes(_json({"schemaVersion": 2, "manifests": [tagged]}))
    return str(described["digest"]).removeprefix("sha256:")


def _put(layout: Path, content: bytes, media_type: str) -> dict[str, object]:
    digest = _sha256(content)
    blob = layout / "blobs/sha256" / digest
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _json(document: Mapping[str, object]) -> bytes:
    return json.dumps(document, sort_keys=True).encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
