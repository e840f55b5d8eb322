"""Hostile layers are refused with the same words when an image file is made of them, and leave none behind."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from reconciler.host.store.pack import pack
from tests.host import tars
from tests.host.hostile.corpus import LAYERS
from tests.host.hostile.surroundings import Surroundings
from tests.host.layers.unpacking import needs_root
from tests.host.store.packing import SQUASHFS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reconciler.model.content.limits import Limits
    from reconciler.model.content.ociread import Layer
    from tests.host.hostile.cases import Case

# The topmost layer is read first here, so that of two that are wrong another one is told.
UPPER_FIRST: Final = {
    "bomb: a size, of files that whiteouts remove": "a: takes",
    "digest: of the content, of two layers in the wrong order": "the image's configuration says sha256:",
}
pytestmark = [needs_root, pytest.mark.commands]


def _pack(layers: Sequence[Layer], blob_of: Callable[[str], Path], target: Path, limits: Limits) -> None:
    (target / "scratch").mkdir()
    pack(layers, blob_of, target / "image", SQUASHFS, target / "scratch", limits)


@pytest.mark.by_lot(150)
@pytest.mark.parametrize("case", LAYERS, ids=[case.name for case in LAYERS])
def test_hostile_layers(tmp_path: Path, case: Case) -> None:
    place = Surroundings(tmp_path)
    message = place.attempt(case, _pack)
    image = place.target / "image"
    if case.tree is None:
        assert message is not None
        assert UPPER_FIRST.get(case.name, case.refused) in message
        assert not image.exists()
        return
    assert message is None
    unpacked = place.target / "unpacked"
    arguments = ["-no-progress", "-quiet", "-dest", str(unpacked), str(image)]
    subprocess.run(["unsquashfs", *arguments], check=True, capture_output=True)
    assert tars.contents(unpacked) == case.tree
