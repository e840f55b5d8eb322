"""Every hostile layer is refused with one clear message, or harmless; and nothing around the target changes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.host.hostile.corpus import LAYERS
from tests.host.hostile.surroundings import Surroundings, layer_of
from tests.host.layers.unpacking import needs_root
from tests.host.tars import directory, file, symlink

if TYPE_CHECKING:
    from pathlib import Path

    from tests.host.hostile.cases import Case
    from tests.host.layers.unpacking import Bench

pytestmark = needs_root


@pytest.mark.parametrize("case", LAYERS, ids=[case.name for case in LAYERS])
def test_hostile_layers(tmp_path: Path, case: Case) -> None:
    before = os.umask(0o027)
    try:
        place = Surroundings(tmp_path)
        message = place.attempt(case)
    finally:
        os.umask(before)
    if case.tree is not None:
        assert message is None
        assert place.contents() == case.tree
        return
    assert message is not None
    assert case.refused in message
    digests = [layer_of(packed).digest for packed in case.build(str(place.outside))]
    assert any(message.startswith(f"layer {digest}: ") for digest in digests)


def test_the_cases_are_many_and_differ() -> None:
    contents = {(*case.build("/outside"), case.limits) for case in LAYERS}
    assert len(contents) == len(LAYERS) >= 400


def test_an_absolute_link_that_leads_into_the_image_is_the_images_own_affair(bench: Bench) -> None:
    """Even where the same path exists on this machine, too."""
    inside = str(bench.outside).lstrip("/")
    entries = [directory(inside), symlink("s", str(bench.outside)), file("s/sentinel", b"the image's")]
    assert bench.unpack_layers(entries)[f"{inside}/sentinel"] == "the image's"
