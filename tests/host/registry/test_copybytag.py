"""An image that is copied by its tag must be what that was resolved to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import pytest

from reconciler.errors import Unavailable
from reconciler.host.registry.copybytag import copy_by_name
from reconciler.model.content.ociread import Platform
from reconciler.model.content.resolution import Resolution
from reconciler.model.content.source import parse_source

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.host.registry.skopeo import Skopeo

OLD, NEW, TRANSLATED, INDEX = (f"sha256:{digit * 64}" for digit in "1234")
AMD64 = Platform("linux", "amd64")
V7 = Platform("linux", "arm", "v7")


@dataclass
class Registry:
    """In place of skopeo, with what each argument leads to."""

    leads_to: dict[str, str]
    index: str = ""
    asked: list[tuple[str, str]] = field(default_factory=list)

    def copy(self, argument: str, platform: Platform, layout: Path, _blobs: Path) -> None:
        self.asked.append((argument, str(platform)))
        layout.mkdir()
        manifests = [{"digest": self.leads_to[argument], "size": 1}]
        (layout / "index.json").write_text(json.dumps({"manifests": manifests}))

    def raw_manifest(self, argument: str) -> bytes:
        assert argument == f"docker://h/x@{INDEX}"
        return self.index.encode()


def _copy(registry: Registry, resolution: Resolution, scratch: Path, platform: Platform = AMD64) -> None:
    skopeo = cast("Skopeo", registry)
    copy_by_name(skopeo, parse_source("docker://h/x:v1"), resolution, platform, scratch / "layout", scratch / "blobs")


def test_a_tag_that_stays(tmp_path: Path) -> None:
    registry = Registry({"docker://h/x:v1": OLD})
    _copy(registry, Resolution(OLD, OLD), tmp_path)
    assert registry.asked == [("docker://h/x:v1", "linux/amd64")]


def test_a_tag_that_moves(tmp_path: Path) -> None:
    registry = Registry({"docker://h/x:v1": NEW, f"docker://h/x@{OLD}": OLD})
    with pytest.raises(Unavailable, match="the tag was moved while its image was fetched"):
        _copy(registry, Resolution(OLD, OLD), tmp_path)


def test_a_manifest_that_skopeo_translates(tmp_path: Path) -> None:
    registry = Registry({"docker://h/x:v1": TRANSLATED, f"docker://h/x@{OLD}": TRANSLATED})
    _copy(registry, Resolution(OLD, OLD), tmp_path)
    assert len(registry.asked) == 2


def test_the_entry_of_an_index_that_was_chosen(tmp_path: Path) -> None:
    """Also where skopeo, told of no variant, might choose another."""
    entry = {"digest": OLD, "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}}
    registry = Registry({"docker://h/x:v1": OLD}, json.dumps({"manifests": [entry]}))
    _copy(registry, Resolution(INDEX, OLD), tmp_path, Platform("linux", "arm"))
    assert registry.asked == [("docker://h/x:v1", str(V7))]
