"""Container images, archives and directories as image files that livelayer makes, merged for real."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.errors import Failed
from reconciler.model.content.format import Format
from tests.host.store.packing import SQUASHFS, Packing, links_of, tree_of
from tests.host.tars import directory, file, hard_link, symlink
from tests.rig.images import Member, command
from tests.rig.newererofs import newer_mkfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]

EROFS = replace(SQUASHFS, format=Format.EROFS)
RELEASES = "usr/lib/extension-release.d"
LOWER = [
    file(f"{RELEASES}/extension-release.tool", b"ID=_any\n"),
    directory("usr/lib", mode=0o2755, mtime=77),
    file("usr/bin/a", b"text " * 60_000, mtime=1_234_567),
    hard_link("usr/bin/b", "usr/bin/a"),
    file("opt/x/y"),
]
UPPER = [
    directory("./", mtime=5),
    directory("./usr/bin", mode=0o711, uid=3_000_000, gid=4_000_000_000),
    symlink("./usr/s", "../" * 60),
    file("./opt/x/.wh.y"),
    file("./usr/bin/" + "n" * 200, b"x" * 1000, mode=0o4755, mtime=2**31, pax={"SCHILY.xattr.user.note": "a=b\nc"}),
]


@pytest.fixture
def newer_erofs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{newer_mkfs(tmp_path / 'newer')}:{os.environ['PATH']}")


@contextmanager
def _mounted(image: Path, place: Path) -> Iterator[Path]:
    place.mkdir()
    subprocess.run(["mount", "-o", "loop,ro", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.usefixtures("newer_erofs")
@pytest.mark.parametrize("way", ["short", "long"])
def test_an_erofs_is_what_layers_are_unpacked_and_always_the_same(tmp_path: Path, way: str) -> None:
    packing = Packing(tmp_path)
    across = [hard_link("usr/bin/c", "usr/bin/a")] if way == "long" else []
    stack = packing.stack(LOWER, [*UPPER, *across])
    entry = replace(EROFS, renamed_to="mine")
    contents = packing.pack(stack, entry)
    assert packing.took_the_long_way == (way == "long")
    assert sorted(contents.releases) == ["mine", "tool"]
    expected, first = packing.flatten(stack), packing.image.read_bytes()
    with _mounted(packing.image, tmp_path / "mounted") as place:
        found = tree_of(place)
        release = found.pop(f"{RELEASES}/extension-release.mine")
        assert release == found[f"{RELEASES}/extension-release.tool"]
        links, expected_links = links_of(place, found), links_of(packing.flat, expected)
    assert found == expected
    assert links == expected_links
    packing.pack(stack, entry)
    assert packing.image.read_bytes() == first


def test_an_old_mkfs_erofs_is_told_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "old/mkfs.erofs"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\necho mkfs.erofs 1.5\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    packing = Packing(tmp_path)
    with pytest.raises(Failed, match=r"erofs-utils 1\.7 or newer is needed to make an erofs file; .* 1\.5") as caught:
        packing.pack(packing.stack(LOWER), EROFS)
    assert caught.value.hint == "install it, or choose the format squashfs"
    assert not packing.image.exists()


def _applied(bench: Bench, source: str, form: str, path: str | None = None) -> None:
    path = path or os.environ["PATH"]
    bench.configure(
        f"settings: {{allow_empty: true}}\nextensions: {{tool: {{source: '{source}', format: {form}}}}}\n"
    )
    bench.livelayer("apply", PATH=path)
    assert bench.livelayer("plan", PATH=path).stdout == "in sync\n"
    placed = [path.name for path in bench.namespace.path("/var/lib/extensions").iterdir()]
    assert placed == ["tool.raw"]


@pytest.mark.parametrize("form", ["squashfs", "erofs"])
def test_a_container_image_becomes_an_image_file(bench: Bench, tmp_path: Path, form: str) -> None:
    path = f"{newer_mkfs(tmp_path / 'newer')}:{os.environ['PATH']}"
    gone = Member("usr/bin/gone", b"#!/bin/sh\n", 0o755)
    layers = [*command("tool", "lower"), gone], [*command("tool", "upper"), Member("usr/bin/.wh.gone")]
    _applied(bench, bench.push("v1", *layers), form, path)
    assert bench.merged() == ["tool"]
    assert bench.says("tool") == "upper"
    assert bench.namespace.run("/usr/bin/env", "gone", status=None).returncode == 127
    bench.configure("settings: {allow_empty: true}\nextensions: {}\n")
    bench.livelayer("apply")
    assert bench.merged() == []


def test_layers_that_take_the_long_way_are_merged_too(bench: Bench) -> None:
    across = Member("usr/bin/tool2", kind=b"1", target="usr/bin/tool")
    _applied(bench, bench.push("v1", command("tool", "across"), [across]), "squashfs")
    assert (bench.says("tool"), bench.says("tool2")) == ("across", "across")
