"""Whatever is not whole is refused with one clear sentence, and never takes anything along."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Invalid
from reconciler.host.images.inspect import inspect_image
from reconciler.model.kind import Kind
from tests.host.images.damaged_images import CASES, Case, Images
from tests.luck import examples
from tests.rig.diskimages import MAKERS, RELEASES, extension_tree

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.commands, pytest.mark.xdist_group("damaged images")]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """A good image of each format; incompressible, so that cuts hurt."""
    directory = tmp_path_factory.mktemp("good")
    tree = extension_tree(directory / "tree", "x")
    (tree / "usr/lib/noise").write_bytes(os.urandom(300_000))
    return {name: make(tree, directory / name).read_bytes() for name, make in MAKERS.items()}


def _refusal(path: Path, tmp_path: Path) -> Invalid:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(Invalid) as caught:
        inspect_image(path, Kind.SYSEXT, scratch)
    return caught.value


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_what_is_not_whole_is_refused(case: Case, good: Images, tmp_path: Path) -> None:
    image = tmp_path / "x.raw"
    image.write_bytes(case.make(good))
    error = _refusal(image, tmp_path)
    assert case.words in error.message
    assert error.message.startswith("the image")
    assert error.message.isprintable()
    assert len(error.message) < 300
    assert error.hint


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 60


@pytest.mark.by_lot(2)
@pytest.mark.parametrize("name", list(MAKERS))
def test_names_with_line_breaks_where_it_matters(name: str, tmp_path: Path) -> None:
    """They are refused or seen for what they are, and fake nothing."""
    tree = extension_tree(tmp_path / "tree", "x")
    (tree / RELEASES / "extension-release.x").unlink()
    forged = (
        "a\n        40    1  extension-release.x",
        "a\n-rw-r--r-- root/root 8 2026-01-01 00:00 squashfs-root/usr/lib/extension-release.d/extension-release.x",
        "a\nextension-release.x",
    )
    for number, file_name in enumerate(forged):
        (tree / RELEASES / file_name.replace("/", "\u2215")).touch()
        image = MAKERS[name](tree, tmp_path / f"image{number}")
        scratch = tmp_path / f"scratch{number}"
        scratch.mkdir()
        try:
            contents = inspect_image(image, Kind.SYSEXT, scratch)
        except Invalid as error:
            assert error.message.isprintable()  # noqa: PT017 - either is fine
        else:
            assert contents.releases.get("x", {}) == {}


@pytest.mark.parametrize("name", list(MAKERS))
def test_release_files_without_an_end(name: str, tmp_path: Path) -> None:
    tree = extension_tree(tmp_path / "tree", "x", {f"{RELEASES}/extension-release.x": "ID=_any\n" * 10_000})
    error = _refusal(MAKERS[name](tree, tmp_path / "image"), tmp_path)
    assert "extension-release.x has more than 64 KiB" in error.message


def test_release_files_without_number(tmp_path: Path) -> None:
    files: dict[str, str | None] = {f"{RELEASES}/extension-release.x{number}": "" for number in range(200)}
    image = MAKERS["squashfs"](extension_tree(tmp_path / "tree", "x", files), tmp_path / "image")
    assert "201 release files" in _refusal(image, tmp_path).message


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in _refusal(tmp_path / "fifo", tmp_path).message


def test_a_directory(tmp_path: Path) -> None:
    assert "not a regular file" in _refusal(tmp_path, tmp_path).message


@pytest.mark.by_lot(2)
@pytest.mark.parametrize("name", list(MAKERS))
def test_a_byte_flipped_anywhere(name: str, good: Images, tmp_path: Path) -> None:
    """Never anything but the same answer or one clear refusal."""
    image = good[name]
    step = len(image) // examples(5) | 1
    for number, place in enumerate(range(0, len(image), step)):
        flipped = bytearray(image)
        flipped[place] ^= 0x41
        path = tmp_path / f"{number}.raw"
        path.write_bytes(flipped)
        scratch = tmp_path / f"scratch{number}"
        scratch.mkdir()
        try:
            contents = inspect_image(path, Kind.SYSEXT, scratch)
        except Invalid as error:
            assert error.message.isprintable()  # noqa: PT017 - either is fine
        else:
            assert contents.releases == {"x": {"ID": "_any"}}
