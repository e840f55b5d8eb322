"""Container images as data: references to blobs, manifests, platforms (OCI image specification 1.1)."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import Any, Final

from reconciler.errors import Invalid
from reconciler.model.source import DIGEST


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of an image, lowest first in a manifest."""

    digest: str  # of the blob as stored, compressed or not
    size: int  # bytes of that blob
    media_type: str
    diff_id: str | None  # digest of the uncompressed tar, from the image's configuration; None: unknown


@dataclass(frozen=True, slots=True)
class Platform:
    """`os/architecture[/variant]` in the words of Go, as image indexes use them."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


# Go's names for what uname(2) says; arm's variant is the version of its instruction set.
_PLATFORMS: Final = {
    "x86_64": Platform("linux", "amd64"),
    "i686": Platform("linux", "386"),
    "aarch64": Platform("linux", "arm64"),
    "armv6l": Platform("linux", "arm", "v6"),
    "armv7l": Platform("linux", "arm", "v7"),
}


def platform_of(machine: str) -> Platform:
    """The platform of a machine as uname(2) names it."""
    return _PLATFORMS.get(machine, Platform("linux", machine))


def parse_platform(text: str) -> Platform:
    """Read `linux/arm64` or `linux/arm/v7`.

    Raises:
        ValueError: with a sentence for the user.
    """
    parts = text.split("/")
    if len(parts) not in {2, 3} or not all(re.fullmatch(r"[a-z0-9_.-]+", part) for part in parts):
        raise ValueError(f"{text!r} is no platform; it looks like linux/amd64 or linux/arm/v7")
    return Platform(*parts)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An entry of an image index."""

    digest: str
    platform: Platform | None


@dataclass(frozen=True, slots=True)
class Index:
    """Several images under one name, one for each platform."""

    manifests: tuple[Descriptor, ...]

    def choose(self, platform: Platform) -> str:
        """The digest of the platform's manifest; an entry without a variant serves every variant.

        Raises:
            Invalid: the index has nothing for this platform.
        """
        for candidate in (platform, Platform(platform.os, platform.architecture)):
            for entry in self.manifests:
                if entry.platform == candidate:
                    return entry.digest
        for entry in self.manifests:
            if entry.platform and _same_but_for_variant(entry.platform, platform) and not platform.variant:
                return entry.digest
        there = ", ".join(str(entry.platform) for entry in self.manifests if entry.platform) or "none"
        raise Invalid(f"the image index has no {platform}; it has {there}", "set platform: to one of them")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One image: its layers, lowest first, and where its configuration is."""

    config: str  # digest
    layers: tuple[Layer, ...]


def _same_but_for_variant(one: Platform, other: Platform) -> bool:
    return (one.os, one.architecture) == (other.os, other.architecture)


def digest_of(content: bytes) -> str:
    """The digest that names this content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def parse_manifest(content: bytes) -> Index | Manifest:
    """Understand a manifest or index, OCI or Docker schema 2.

    Raises:
        Invalid: it is neither.
    """
    try:
        document = json.loads(content)
        if "manifests" in document:
            return Index(tuple(_descriptor(entry) for entry in document["manifests"]))
        layers = tuple(_layer(entry) for entry in document["layers"])
        return Manifest(_digest(document["config"]["digest"]), layers)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid(
            "the source's manifest is neither an OCI nor a Docker schema 2 manifest",
            "livelayer takes container images; look at it with: skopeo inspect --raw SOURCE",
        ) from error


def with_diff_ids(manifest: Manifest, config: bytes) -> Manifest:
    """Tell each layer the digest of its uncompressed content.

    Raises:
        Invalid: the configuration is unreadable or counts another number of layers.
    """
    try:
        diff_ids = [_digest(item) for item in json.loads(config)["rootfs"]["diff_ids"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Invalid("the image's configuration lists no diff_ids", "rebuild or re-push the image") from error
    if len(diff_ids) != len(manifest.layers):
        raise Invalid(
            f"the image's configuration counts {len(diff_ids)} layers, its manifest {len(manifest.layers)}",
            "rebuild or re-push the image",
        )
    pairs = zip(manifest.layers, diff_ids, strict=True)
    return Manifest(manifest.config, tuple(replace(layer, diff_id=diff_id) for layer, diff_id in pairs))


def platform_in(config: bytes) -> Platform | None:
    """The platform an image's configuration declares; None where it declares none."""
    document = json.loads(config)
    if not document.get("os") or not document.get("architecture"):
        return None
    return Platform(document["os"], document["architecture"], document.get("variant", ""))


def _descriptor(entry: Any) -> Descriptor:  # noqa: ANN401 - JSON
    platform = entry.get("platform")
    if not platform:
        return Descriptor(_digest(entry["digest"]), None)
    found = Platform(platform["os"], platform["architecture"], platform.get("variant", ""))
    return Descriptor(_digest(entry["digest"]), found)


def _layer(entry: Any) -> Layer:  # noqa: ANN401 - JSON
    return Layer(_digest(entry["digest"]), int(entry["size"]), str(entry.get("mediaType", "")), None)


def _digest(text: Any) -> str:  # noqa: ANN401 - JSON
    """Check before use: a digest becomes a file name."""
    if not isinstance(text, str) or not DIGEST.fullmatch(text):
        raise ValueError(f"{text!r} is no sha256 digest")
    return text
