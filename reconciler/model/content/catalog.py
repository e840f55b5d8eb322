"""Catalogs of extensions in the shape that Kairos publishes (`releases.json`): names and versions to pinned images.

What of a catalog is read; all else in it is passed over:

    {"layers": [{"name": "fwupd", "latest": "2.1.7",
                 "tags": [{"tag": "2.1.7", "sysext": {"amd64": {"oci": "HOST/NAME@sha256:..."}}}]}]}

Architectures are called as Go does. Without a version, `latest` is taken; a version that is a tag means that one; any
other is a range, of which the highest tag that fits is taken. Of several catalogs the first one that has the name in
such a version, for this architecture, counts. An image that is not pinned by a digest is refused: then a catalog that
comes over an encrypted connection vouches for the content.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid
from reconciler.model.content.source import Source, parse_source
from reconciler.model.content.version import Range, parse_range

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Selector:
    """Which extension is wanted of a catalog, and in which version."""

    name: str
    version: str | None  # a tag, or else a range; None: the latest
    range: Range | None  # instead of `version`
    architecture: str  # in the words of Go


@dataclass(frozen=True, slots=True)
class CatalogImage:
    """What a catalog has for a selector."""

    source: Source  # an image in a registry, with its digest
    tag: str


@dataclass(frozen=True, slots=True)
class _Layer:
    """One extension, in all its versions."""

    latest: str
    tags: Mapping[str, Mapping[str, str]]  # by tag: references by architecture


@dataclass(frozen=True, slots=True)
class Catalog:
    """Extensions by name."""

    layers: Mapping[str, _Layer]

    def find(self, selector: Selector) -> CatalogImage:
        layer = self.layers.get(selector.name)
        if layer is None:
            raise Invalid(f"has no {selector.name}", "check the name", code="source.not-found")
        tag = _choose(layer, selector)
        images = layer.tags[tag]
        if selector.architecture not in images:
            there = ", ".join(sorted(images)) or "nothing"
            raise Invalid(
                f"has {selector.name} {tag} for {there}, not for {selector.architecture}",
                "choose another version",
                code="platform.mismatch",
            )
        return CatalogImage(_source(images[selector.architecture], f"{selector.name} {tag}"), tag)


def parse_catalog(content: bytes) -> Catalog:
    try:
        return Catalog({it["name"]: _layer(it) for it in reversed(json.loads(content)["layers"])})
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        hint = "it is to be JSON with a list of layers (releases.json)"
        raise Invalid("is no catalog of extensions", hint, code="catalog.unavailable") from error


def _layer(document: Any) -> _Layer:  # noqa: ANN401 - JSON
    tags = {str(it["tag"]): it.get("sysext") or {} for it in document.get("tags") or ()}
    images = {tag: {str(key): str(it["oci"]) for key, it in found.items()} for tag, found in tags.items()}
    return _Layer(str(document.get("latest", "")), images)


def _source(reference: str, shown: str) -> Source:
    name, _, digest = reference.rpartition("@")
    try:
        return parse_source(f"docker://{name}@{digest.lower()}")
    except ValueError as error:
        what = f"{shown} is not an image with a digest: {reference!r}"
        raise Invalid(what, "report it to its publisher", code="catalog.unavailable") from error


def _choose(layer: _Layer, selector: Selector) -> str:
    wanted = selector.version or (None if selector.range else layer.latest)
    if wanted in layer.tags:
        return str(wanted)
    if wanted == layer.latest:
        raise Invalid(
            f"has no {selector.name} {wanted}, which it says is the latest", "name a version", code="source.not-found"
        )
    span = selector.range or _range(wanted or "")
    if span is None:
        raise Invalid(f"has no {selector.name} {wanted}", "name another version", code="source.not-found")
    if best := span.highest(layer.tags):
        return best
    raise span.miss(selector.name, layer.tags)


def _range(text: str) -> Range | None:
    try:
        return parse_range(text)
    except ValueError:
        return None
