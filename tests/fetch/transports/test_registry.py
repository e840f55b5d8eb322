"""A pin and the tag beside it: the pin counts, and where the tag leads elsewhere, that is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid
from reconciler.fetch.transport import Access
from reconciler.fetch.transports.registry import Registry
from reconciler.host.registry.skopeo import Skopeo
from reconciler.model.config.part import Part
from reconciler.model.content.format import Format
from reconciler.model.content.ociread import digest_of
from reconciler.model.content.resolution import resolution_as_json, resolution_from_json
from reconciler.model.content.source import parse_source

if TYPE_CHECKING:
    from reconciler.paths import Paths


def _manifest(number: int) -> bytes:
    config = {"digest": f"sha256:{number:064}", "mediaType": "application/vnd.oci.image.config.v1+json"}
    return json.dumps({"config": config, "layers": []}).encode()


OLD, NEW = _manifest(1), _manifest(2)
INDEX = json.dumps({"manifests": [{"digest": digest_of(OLD)}]}).encode()


@pytest.mark.parametrize(
    ("source", "at_tag", "is_told"),
    [
        ("docker://h/x:1.1.0", NEW, True),
        ("docker://h/x:1.1.0", OLD, False),
        ("docker://h/x:1.1.0", INDEX, False),  # the pinned manifest is one of its platforms
        ("docker://h/x:1.1.0", b"{}", False),
        ("docker://h/x:1.1.0", None, False),
        ("docker://h/x", NEW, False),  # names no tag
        (f"docker://h/x:1.1.0@{digest_of(OLD)}", NEW, True),
    ],
)
def test_a_tag_that_leads_elsewhere_than_the_pin_is_told(
    source: str, at_tag: bytes | None, *, is_told: bool, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {f"docker://h/x@{digest_of(OLD)}": OLD, "docker://h/x:1.1.0": at_tag, "docker://h/x": NEW}

    def answer(_: Skopeo, argument: str) -> bytes:
        if (found := known[argument]) is None:
            raise Invalid("there is no such image")
        return found

    monkeypatch.setattr(Skopeo, "raw_manifest", answer)
    part = Part(source, parse_source(source), pin=digest_of(OLD))
    found = Registry(Access(paths, "x86_64")).look_up(part, Format.DIRECTORY)
    assert found.digest == digest_of(OLD)
    assert found.at_tag == (digest_of(NEW) if is_told else None)
    assert resolution_from_json(resolution_as_json(found)) == found
