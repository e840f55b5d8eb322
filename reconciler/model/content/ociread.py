"""Container images as data: references to blobs, manifests, platforms (OCI image specification 1.1)."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, Malformed
from reconciler.model.content.source import DIGEST

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image, lowest first in a manifest."""

    digest: str  # of the blob as stored, compressed or not
    size: int  # bytes of that blob
    media_type: str
    diff_id: str | None  # digest of the uncompressed tar, from the image's configuration; None: unknown
    title: str | None = None  # of an artifact's file, for messages (org.opencontainers.image.title)
    unpacks: bool = False  # it is a directory that oras has packed, and its title the directory's name
    top: str | None = None  # the directory in the archive that is the tree's root; None: the archive's root is


@dataclass(frozen=True, slots=True)
class Platform:
    """`os/architecture[/variant]` in the words of Go, as image indexes use them."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


_LAYERS_MAX: Final = 1000  # Docker makes 127 at most
_SIZE_MAX: Final = (1 << 63) - 1
_SHOWN_MAX: Final = 20  # platforms in a message
_REPUSH: Final = "rebuild or re-push the image"
_UNPACK: Final = "io.deis.oras.content.unpack"
TITLE: Final = "org.opencontainers.image.title"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
IMAGE_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
EMPTY_CONFIG: Final = "application/vnd.oci.empty.v1+json"  # of an artifact, which has none

# What Docker 1.10 and registries of its time call a configuration; it says nothing.
_ANY_CONFIGS: Final = frozenset({"application/octet-stream", "application/json", "text/html", "text/plain"})
_IMAGE_CONFIGS: Final = frozenset({IMAGE_CONFIG, "application/vnd.docker.container.image.v1+json"})
# Go's names for what uname(2) says; arm's variant is the version of its instruction set.
_PLATFORMS: Final = {
    "x86_64": Platform("linux", "amd64"),
    "i686": Platform("linux", "386"),
    "aarch64": Platform("linux", "arm64"),
    "armv6l": Platform("linux", "arm", "v6"),
    "armv7l": Platform("linux", "arm", "v7"),
    "loongarch64": Platform("linux", "loong64"),
}
_OLDER: Final = {"arm": ("v8", "v7", "v6", "v5"), "amd64": ("v4", "v3", "v2", "v1")}
_LEAST: Final = {"amd64": ("v1",), "arm64": ("v8",)}  # which all of an architecture are
_SPELLINGS: Final = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "armhf": "arm"}
# And for systemd's names, which ARCHITECTURE= in a release file uses; where both agree, none is listed.
GO_NAMES: Final = {
    "x86-64": "amd64",
    "x86": "386",
    "ppc64-le": "ppc64le",
    "loongarch64": "loong64",
    "mips64-le": "mips64le",
}


def platform_of(machine: str) -> Platform:
    """The platform of a machine as uname(2) names it."""
    return _PLATFORMS.get(machine, Platform("linux", machine))


def platform_for(architecture: str) -> Platform:
    """The platform of an architecture as systemd names it."""
    return Platform("linux", GO_NAMES.get(architecture, architecture))


def parse_platform(text: str) -> Platform:
    """Read `linux/arm64` or `linux/arm/v7`."""
    parts = text.split("/")
    if len(parts) not in {2, 3} or not all(re.fullmatch(r"[a-z0-9_.-]+", part) for part in parts):
        raise ValueError(f"{text!r} is no platform; it looks like linux/amd64 or linux/arm/v7")
    return Platform(*parts)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What refers to a blob, a manifest or an index (OCI image-spec, descriptor.md)."""

    media_type: str
    digest: str
    size: int  # bytes
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None  # of a manifest in an index


def _up_to(best: str, platform: Platform) -> tuple[str, ...]:
    """The variants beyond what all of an architecture run, the best first."""
    newest_first = _OLDER.get(platform.architecture, ())
    if platform.variant or best not in newest_first:
        return ()
    return newest_first[newest_first.index(best) : -1]


def _variants(platform: Platform) -> tuple[str, ...]:
    """What a platform runs, the best first; an entry without a variant serves every one."""
    newest_first = _OLDER.get(platform.architecture, ())
    if platform.variant in newest_first:
        older = newest_first[newest_first.index(platform.variant) + 1 :]
        return (platform.variant, "", *older)
    return (platform.variant, "", *_LEAST.get(platform.architecture, ()))


@dataclass(frozen=True, slots=True)
class Index:
    """Several images under one name, one for each platform."""

    manifests: tuple[Descriptor, ...]

    def choose(self, platform: Platform, best: str = "") -> str:
        """The digest of the platform's manifest: of the best variant that it runs, else of one without platform.

        `best` is the best one that the processor runs, if the platform does not say which variant is wanted.
        """
        for variant in (*_up_to(best, platform), *_variants(platform)):
            for entry in self.manifests:
                if entry.platform == replace(platform, variant=variant):
                    return entry.digest
        for entry in self.manifests:
            if entry.platform and replace(entry.platform, variant="") == platform:
                return entry.digest
        for entry in self.manifests:
            if entry.platform is None:
                return entry.digest
        raise Invalid(
            f"the image index has no {platform}; it has {self._platforms()}",
            "set platform: to one of them",
            code="platform.mismatch",
        )

    def _platforms(self) -> str:
        there = [str(entry.platform) for entry in self.manifests if entry.platform]
        more = f" and {len(there) - _SHOWN_MAX} more" if len(there) > _SHOWN_MAX else ""
        return (", ".join(there[:_SHOWN_MAX]) or "none") + more


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image: its layers, lowest first, and where its configuration is."""

    config: str  # digest
    layers: tuple[Layer, ...]
    config_type: str = ""  # empty: not said, so an image's

    @property
    def is_artifact(self) -> bool:
        """Whether its blobs are files rather than layers (OCI image-spec 1.1, manifest.md).

        Artifacts have a configuration of another type, or of the type for images with blobs that are no archives, or
        that are called as files.
        """
        if self.config_type and self.config_type not in _IMAGE_CONFIGS | _ANY_CONFIGS:
            return True
        if self.layers and all(layer.title for layer in self.layers):
            return True
        return bool(self.layers) and not any(_is_archive(layer.media_type) for layer in self.layers)

    @property
    def is_tree(self) -> bool:
        """Whether an artifact's blobs are archives that make one tree, as `oras push REF DIR...` pushes them."""
        unpacked = bool(self.layers) and all(layer.unpacks for layer in self.layers)
        return unpacked or (len(self.layers) > 1 and all("tar" in layer.media_type for layer in self.layers))

    def sole_file(self, text: str) -> Layer:
        """The only file of an artifact; `text` is for messages."""
        if len(self.layers) != 1:
            hint = "push each image file as an artifact of its own"
            raise Invalid(f"{text}: the artifact has {len(self.layers)} files, not one", hint)
        return self.layers[0]

    @property
    def blobs(self) -> tuple[str, ...]:
        """The digests of all that it is made of."""
        return self.config, *(layer.digest for layer in self.layers)

    @property
    def size(self) -> int:
        """Bytes to transfer if nothing of it is here yet."""
        return sum(layer.size for layer in self.layers)


def _is_archive(media_type: str) -> bool:
    """Layers are called `...layer.v1.tar+gzip` by OCI and `...rootfs.diff.tar.gzip` by Docker; some write nothing."""
    return not media_type or "tar" in media_type


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def parse_manifest(content: bytes) -> Index | Manifest:
    """Understand a manifest or index, OCI or Docker schema 2."""
    try:
        document = _parsed(content)
        found = _index(document) if "manifests" in document else _manifest(document)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(
            "the source's manifest is neither an OCI nor a Docker schema 2 manifest",
            "livelayer takes container images; look at it with: skopeo inspect --raw SOURCE",
        ) from error
    if isinstance(found, Manifest) and any(layer.media_type.endswith("+encrypted") for layer in found.layers):
        raise Invalid(
            "the image's layers are encrypted, and livelayer decrypts none",
            "publish it without encryption",
            code="image.encrypted",
        )
    if isinstance(found, Manifest) and len(found.layers) > _LAYERS_MAX:
        raise Invalid(
            f"the image has {len(found.layers)} layers, more than {_LAYERS_MAX}",
            "rebuild it with fewer",
            code="limit.exceeded",
        )
    return found


def parse_image(content: bytes, text: str, hint: str = "push the image again") -> Manifest:
    """Understand a manifest where no index may be; `text` and `hint` are for messages."""
    found = parse_manifest(content)
    if isinstance(found, Index):
        raise Malformed(f"{text}: an index inside an index", hint)
    return found


def _parsed(content: bytes) -> dict[str, Any]:
    """Read a JSON object; ValueError or TypeError where it is none."""
    try:
        document = json.loads(content)
    except RecursionError as error:  # a hostile one is nested deeply
        raise ValueError("nested too deeply") from error
    if not isinstance(document, dict):
        raise TypeError("no JSON object")
    return document


def _index(document: dict[str, Any]) -> Index:
    if "layers" in document or "config" in document:
        raise ValueError("both an index and a manifest: which it is would depend on who reads it")
    return Index(tuple(map(_descriptor, document["manifests"])))


def _manifest(document: dict[str, Any]) -> Manifest:
    config = document["config"]
    return Manifest(
        _digest(config["digest"]), tuple(map(_layer, document["layers"])), str(config.get("mediaType", ""))
    )


def with_diff_ids(manifest: Manifest, config: bytes) -> Manifest:
    """The manifest with the digest of each layer's uncompressed content, which the image's configuration lists.

    That of an artifact that was pushed as an image may say no more than a platform, or nothing.
    """
    try:
        if not _parsed(config).get("rootfs"):
            return manifest
        diff_ids = [_digest(item) for item in _parsed(config)["rootfs"]["diff_ids"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Malformed("the image's configuration lists no diff_ids", _REPUSH) from error
    if len(diff_ids) != len(manifest.layers):
        raise Malformed(
            f"the image's configuration counts {len(diff_ids)} layers, its manifest {len(manifest.layers)}",
            _REPUSH,
        )
    pairs = zip(manifest.layers, diff_ids, strict=True)
    return replace(manifest, layers=tuple(replace(layer, diff_id=diff_id) for layer, diff_id in pairs))


def platform_in(config: bytes) -> Platform | None:
    """The platform an image's configuration declares; None where it declares none."""
    try:
        document = _parsed(config)
        if not document.get("os") or not document.get("architecture"):
            return None
        return _platform(document)
    except (ValueError, TypeError) as error:
        raise Malformed("the image's configuration is unreadable", _REPUSH) from error


def _descriptor(entry: Any) -> Descriptor:  # noqa: ANN401 - JSON
    platform, size, annotations = entry.get("platform"), entry.get("size"), entry.get("annotations")
    return Descriptor(
        str(entry.get("mediaType") or MANIFEST),
        _digest(entry["digest"]),
        size if type(size) is int else 0,
        {str(key): str(value) for key, value in annotations.items()} if isinstance(annotations, dict) else {},
        _platform(platform) if platform else None,
    )


def _platform(document: Any) -> Platform:  # noqa: ANN401 - JSON
    words = document["os"], document["architecture"], document.get("variant") or ""
    if not all(isinstance(word, str) for word in words):
        raise ValueError("a platform of something else than words")
    os, architecture, variant = (word.lower() for word in words)
    return Platform(os, _SPELLINGS.get(architecture, architecture), variant)


def _layer(entry: Any) -> Layer:  # noqa: ANN401 - JSON
    size = entry["size"]
    if type(size) is not int or not 0 <= size <= _SIZE_MAX:
        raise ValueError("a size that is no number of bytes")
    annotations = entry.get("annotations") or {}
    title, unpacks = annotations.get(TITLE), annotations.get(_UNPACK) == "true"
    return Layer(_digest(entry["digest"]), size, str(entry.get("mediaType", "")), None, title, unpacks)


def _digest(text: Any) -> str:  # noqa: ANN401 - JSON
    """Check before use: a digest becomes a file name."""
    if not isinstance(text, str) or not DIGEST.fullmatch(text):
        raise ValueError(f"{text!r} is no sha256 digest")
    return text
