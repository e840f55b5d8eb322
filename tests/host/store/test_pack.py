"""An image file has in it what the layers are when they are unpacked."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import Failed, Invalid
from reconciler.host.images.inspect import inspect_image
from reconciler.host.store import entries as store
from reconciler.model.content.limits import Limits
from reconciler.model.images.imageformat import FileSystem, ImageFormat, Volume
from reconciler.model.kind import Kind
from tests.host import tars
from tests.host.layers import layer_oracle
from tests.host.layers.test_layer_stacks import ANY_ORDER, LAYERS, STACKS
from tests.host.layers.unpacking import needs_root
from tests.host.store.packing import SQUASHFS, Packing, links_of
from tests.host.tars import Entry, directory, file, hard_link, symlink
from tests.luck import examples

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.fit.contents import Contents
    from tests.host.tars import Stack

pytestmark = [needs_root, pytest.mark.commands]

RELEASES = "usr/lib/extension-release.d"
EXTENSION = [
    directory("usr"),
    directory("usr/lib", mode=0o2755, mtime=7),
    file(f"{RELEASES}/extension-release.tool", b"ID=_any\n", mtime=9),
    file("usr/lib/systemd/system/tool.service", b"[Service]\n"),
    directory("usr/lib/systemd/system/tool.service.d"),
    directory("proc"),
]


@pytest.fixture
def packing(tmp_path: Path) -> Packing:
    return Packing(tmp_path)


def _check_same(packing: Packing, stack: Stack) -> None:
    contents = packing.pack(stack)
    expected, found = packing.flatten(stack), packing.unpack()
    assert found == expected
    assert links_of(packing.unpacked, found) == links_of(packing.flat, expected)
    assert replace(contents, image=None) == store.inspect(packing.flat, Kind.SYSEXT)
    assert contents.image == ImageFormat((Volume(FileSystem.SQUASHFS, 0, packing.image.stat().st_size),))


@pytest.mark.parametrize("layers", [layers for layers, _ in STACKS.values()], ids=list(STACKS))
def test_stacks(packing: Packing, layers: list[list[Entry]]) -> None:
    _check_same(packing, packing.stack(*layers))


@pytest.mark.parametrize(("lower", "upper"), [case[:2] for case in ANY_ORDER.values()], ids=list(ANY_ORDER))
def test_whiteouts_in_any_order(packing: Packing, lower: list[Entry], upper: list[Entry]) -> None:
    for turn in range(len(upper)):
        _check_same(packing, packing.stack(lower, upper[turn:] + upper[:turn]))


@settings(max_examples=examples(25))
@given(layers=st.lists(LAYERS, min_size=1, max_size=4))
def test_random_stacks_are_what_they_are_unpacked(
    tmp_path_factory: pytest.TempPathFactory, layers: list[list[Entry]]
) -> None:
    place = tmp_path_factory.mktemp("stack")
    try:
        packing = Packing(place)
        stack = packing.stack(*layers)
        if layer_oracle.flattened(layers) is None:
            with pytest.raises(Invalid):
                packing.pack(stack)
            assert not packing.image.exists()
        else:
            _check_same(packing, stack)
    finally:
        shutil.rmtree(place)


def test_what_layers_usually_have_takes_the_short_way(packing: Packing) -> None:
    lower = [*EXTENSION, file("usr/bin/a", b"1" * 300_000), hard_link("usr/bin/b", "usr/bin/a"), file("opt/x/y")]
    upper = [
        directory("./"),
        directory("./usr/bin", mode=0o711, uid=3_000_000, gid=4_000_000_000),
        file("./usr/bin/.wh.b"),
        file("./opt/x/.wh..wh..opq"),
        symlink("./usr/bin/c", "../" * 50 + "target"),
        file("./usr/bin/" + "n" * 200, b"x" * 1000, pax={"SCHILY.xattr.user.note": "a=b\nc"}),
        hard_link("./usr/bin/d", "./usr/bin/c"),
        file("./usr/bin/e", mode=0o4755),
    ]
    _check_same(packing, packing.stack(lower, upper))
    assert not packing.took_the_long_way


@pytest.mark.parametrize(
    "layers",
    [
        [[directory("usr/lib"), symlink("lib", "usr/lib")], [file("lib/a")]],
        [[file("a", b"1")], [hard_link("b", "a")]],
        [[file("a", b"1"), file("a", b"2")]],
        [[file("a", b"1"), hard_link("b", "a")], [file("a", b"2")]],
    ],
    ids=["a parent is a link", "a link across layers", "a name twice", "a link to what is replaced"],
)
def test_what_one_pass_cannot_decide_takes_the_long_way(packing: Packing, layers: list[list[Entry]]) -> None:
    _check_same(packing, packing.stack(*layers))
    assert packing.took_the_long_way


@pytest.mark.parametrize("version", ["gnu", "0.0", "0.1", "1.0"])
def test_sparse_files(packing: Packing, version: str) -> None:
    _check_same(packing, tars.blob(packing.scratch.parent / "blobs", tars.sparse(version)))
    assert not packing.took_the_long_way
    assert tars.holes() in [found.data for found in packing.unpack().values()]


def test_holes_count_since_they_are_read(packing: Packing) -> None:
    stack = tars.stack(packing.scratch.parent / "blobs", *[tars.sparse("1.0")] * 2)
    with pytest.raises(Invalid, match=r"takes the holes of sparse files to 2\.0M unpacked, more than the 1\.9M"):
        packing.pack(stack, limits=Limits(size=2_000_000))
    assert not packing.image.exists()


def test_the_same_layers_are_the_same_bytes(packing: Packing, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = b"".join(tars.digest(b"%d" % number).encode() for number in range(20_000))
    stack = packing.stack([*EXTENSION, *(file(f"usr/{number}", noise[number:]) for number in range(10))])
    packing.pack(stack)
    first = packing.image.read_bytes()
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1234567890")
    packing.pack(stack)
    assert packing.image.read_bytes() == first


@pytest.mark.parametrize("way", ["short", "long"])
def test_renamed(packing: Packing, way: str) -> None:
    twice = [directory("proc")] if way == "long" else []
    contents = packing.pack(packing.stack([*EXTENSION, *twice]), replace(SQUASHFS, renamed_to="mine"))
    assert packing.took_the_long_way == (way == "long")
    found = packing.unpack()
    names = {f"{RELEASES}/extension-release.{name}" for name in ("tool", "mine")}
    assert frozenset(names) in links_of(packing.unpacked, found)
    assert contents.releases == {"tool": {"ID": "_any"}, "mine": {"ID": "_any"}}
    assert _inspected(packing) == contents


def test_only_a_sole_release_file_is_renamed(packing: Packing) -> None:
    release = f"{RELEASES}/extension-release."
    more = [file(f"{release}other", b"ID=debian\n"), hard_link(f"{release}third", f"{release}other")]
    contents = packing.pack(packing.stack([*EXTENSION, *more]), replace(SQUASHFS, renamed_to="mine"))
    assert sorted(contents.releases) == ["other", "third", "tool"]
    assert contents.releases["third"] == {"ID": "debian"}
    assert _inspected(packing) == contents
    assert not packing.took_the_long_way


@pytest.mark.parametrize("more", [[directory("{}")], [symlink("{}", "x")]], ids=["a directory", "a link"])
def test_a_name_that_is_taken_cannot_be_given(packing: Packing, more: list[Entry]) -> None:
    name = f"{RELEASES}/extension-release.mine"
    stack = packing.stack([*EXTENSION, *(replace(entry, name=entry.name.format(name)) for entry in more)])
    with pytest.raises(Failed, match=r"extension-release\.mine: cannot be made"):
        packing.pack(stack, replace(SQUASHFS, renamed_to="mine"))
    assert not packing.image.exists()


CONFEXT = [file("etc/extension-release.d/extension-release.c", b"ID=_any\n"), file("etc/systemd/system/c.timer")]


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        ([*EXTENSION, file("etc/stray"), file("readme"), file("usr/lib/os-release")], Kind.SYSEXT),
        (CONFEXT, Kind.CONFEXT),
        (CONFEXT, Kind.SYSEXT),
        ([symlink("usr", "etc"), *CONFEXT], Kind.SYSEXT),
        ([], Kind.SYSEXT),
    ],
)
def test_what_is_inside_is_told_as_of_a_tree_and_as_of_any_image(
    packing: Packing, layer: list[Entry], kind: Kind
) -> None:
    stack = packing.stack(layer)
    contents = packing.pack(stack, replace(SQUASHFS, kind=kind))
    packing.flatten(stack)
    assert replace(contents, image=None) == store.inspect(packing.flat, kind)
    assert _inspected(packing, kind) == contents


def _inspected(packing: Packing, kind: Kind = Kind.SYSEXT) -> Contents:
    return inspect_image(packing.image, kind, packing.scratch)
