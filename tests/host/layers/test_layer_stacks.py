"""Layer upon layer: replacing, merging, whiteouts, links through all of them; and a model of it."""

from __future__ import annotations

import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import Invalid
from reconciler.host.base.walk import listed
from reconciler.host.layers import whiteouts
from reconciler.host.layers.staging import DEPTH_MAX
from tests.host import tars
from tests.host.layers import layer_oracle
from tests.host.layers.unpacking import Bench, needs_root
from tests.host.tars import Entry, directory, file, hard_link, symlink
from tests.luck import examples

if TYPE_CHECKING:
    import os
    from pathlib import Path


pytestmark = needs_root


# name: layers, result
STACKS: dict[str, tuple[list[list[Entry]], dict[str, str]]] = {
    "upper files replace": ([[file("a", b"1")], [file("a", b"2")]], {"a": "2"}),
    "directories merge": (
        [[directory("d"), file("d/a")], [directory("d"), file("d/b")]],
        {"d": "/", "d/a": "", "d/b": ""},
    ),
    "a file replaces a directory": ([[file("d/e/f")], [file("d", b"1")]], {"d": "1"}),
    "a link replaces a directory": ([[file("d/e/f")], [symlink("d", "x")]], {"d": "-> x"}),
    "a directory replaces a file": ([[file("d")], [directory("d")]], {"d": "/"}),
    "a parent replaces a lower file": ([[file("d")], [file("d/a", b"1")]], {"d": "/", "d/a": "1"}),
    "a directory replaces a link to a directory": (
        [[directory("real"), symlink("d", "real")], [directory("d"), file("d/a")]],
        {"real": "/", "d": "/", "d/a": ""},
    ),
    "a whiteout removes a file": ([[file("a"), file("b")], [file(".wh.a")]], {"b": ""}),
    "a whiteout removes a tree": ([[file("d/e/f"), file("g")], [file(".wh.d")]], {"g": ""}),
    "a whiteout removes a link, not its target": (
        [[file("d/f"), symlink("s", "d")], [file(".wh.s")]],
        {"d": "/", "d/f": ""},
    ),
    "a whiteout of nothing": ([[file("a")], [file("x/y/.wh.z"), file(".wh.n"), file("a/.wh.b")]], {"a": ""}),
    "a whiteout in the lowest layer": ([[file("a"), file(".wh.a")]], {"a": ""}),
    "a whiteout may be a hard link": ([[file("a")], [hard_link(".wh.a", ".wh..wh.aufs")]], {}),
    "whiteouts of hidden names": ([[file(".a"), file("..b")], [file(".wh..a"), file(".wh...b")]], {}),
    "an opaque directory hides all": (
        [[file("d/a"), file("d/e/f"), file("x")], [directory("d"), file("d/.wh..wh..opq"), file("d/b")]],
        {"d": "/", "d/b": "", "x": ""},
    ),
    "an opaque root": ([[file("a/b"), file("c")], [file(".wh..wh..opq"), file("d")]], {"d": ""}),
    "opaque, but nothing there": ([[file("d")], [file("d/.wh..wh..opq"), file("e/.wh..wh..opq")]], {"d": ""}),
    "aufs's own files": (
        [
            [
                file(".wh..wh.aufs"),
                directory(".wh..wh.plnk"),
                file(".wh..wh.plnk/1.2"),
                directory("a/.wh..wh.orph"),
            ]
        ],
        {},
    ),
    "names that only look like whiteouts": (
        [[file("x.wh.y"), file("wh.z"), file("d.wh./f")]],
        {"x.wh.y": "", "wh.z": "", "d.wh.": "/", "d.wh./f": ""},
    ),
    "links into lower layers": (
        [[file("a", b"1")], [hard_link("b", "a")], [file("a", b"2")]],
        {"a": "2", "b": "1"},
    ),
    "links to links": (
        [[symlink("s", "nowhere")], [hard_link("t", "s")]],
        {"s": "-> nowhere", "t": "-> nowhere"},
    ),
    "links from the root": (
        [[file("d/a", b"1"), hard_link("b", "/d/a"), hard_link("c", "./d//a")]],
        {"d": "/", "d/a": "1", "b": "1", "c": "1"},
    ),
    "through a link, relative": (
        [[directory("usr/lib"), symlink("lib", "usr/lib")], [file("lib/a")]],
        {"usr": "/", "usr/lib": "/", "usr/lib/a": "", "lib": "-> usr/lib"},
    ),
    "through a link, absolute": (
        [[directory("usr/lib"), symlink("x/lib", "/./usr//lib/")], [file("x/lib/sub/a")]],
        {
            "usr": "/",
            "usr/lib": "/",
            "usr/lib/sub": "/",
            "usr/lib/sub/a": "",
            "x": "/",
            "x/lib": "-> /./usr//lib/",
        },
    ),
    "through links to links and up": (
        [[directory("a/b"), symlink("a/up", ".."), symlink("c", "a/up/a/b")], [file("c/f")]],
        {"a": "/", "a/b": "/", "a/up": "-> ..", "c": "-> a/up/a/b", "a/b/f": ""},
    ),
    "through a link of the same layer": (
        [[directory("a"), symlink("l", "a"), file("l/f")]],
        {"a": "/", "a/f": "", "l": "-> a"},
    ),
    "whiteouts through a link": (
        [[file("a/f"), file("a/g"), symlink("l", "a")], [file("l/.wh.f")]],
        {"a": "/", "a/g": "", "l": "-> a"},
    ),
    "opaque through a link": ([[file("a/f"), symlink("l", "a")], [file("l/.wh..wh..opq")]], {"a": "/", "l": "-> a"}),
    "hard links through a link": (
        [[file("a/f", b"1"), symlink("l", "/a")], [hard_link("h", "l/f")]],
        {"a": "/", "a/f": "1", "l": "-> /a", "h": "1"},
    ),
    "a link is no longer followed once replaced": (
        [[directory("a"), directory("b"), symlink("l", "a"), file("l/1"), symlink("l", "b"), file("l/2")]],
        {"a": "/", "a/1": "", "b": "/", "b/2": "", "l": "-> b"},
    ),
    "a directory is no longer known once removed": (
        [[file("d/e/f")], [file("d/e/g")], [file(".wh.d"), file("d/e/h")]],
        {"d": "/", "d/e": "/", "d/e/h": ""},
    ),
    "the last of a name counts": ([[file("a", b"1"), directory("a"), file("a/b"), file("a", b"2")]], {"a": "2"}),
    "no layers": ([], {}),
}


@pytest.mark.parametrize(("layers", "expected"), STACKS.values(), ids=STACKS)
def test_stacks(bench: Bench, layers: list[list[Entry]], expected: dict[str, str]) -> None:
    assert bench.unpack_layers(*layers) == expected


# lower layer, the members of the upper one in any order, result
ANY_ORDER: dict[str, tuple[list[Entry], list[Entry], dict[str, str]]] = {
    "its own file is spared": ([file("a", b"1")], [file("a", b"2"), file(".wh.a")], {"a": "2"}),
    "its own part of a directory is spared": (
        [directory("d", mode=0o700, uid=5, mtime=9), file("d/low"), file("d/e/low")],
        [file("d/e/high"), file(".wh.d")],
        {"d": "/", "d/e": "/", "d/e/high": ""},
    ),
    "its own directory is spared, without lower files": (
        [directory("d", pax={"SCHILY.xattr.user.low": "1"}), file("d/low")],
        [directory("d", mode=0o700, uid=4), file(".wh.d")],
        {"d": "/"},
    ),
    "opaque spares its own": (
        [file("d/low"), file("d/e/low"), file("d/both", b"low")],
        [directory("d"), file("d/e/high"), file("d/both", b"high"), file("d/.wh..wh..opq")],
        {"d": "/", "d/e": "/", "d/e/high": "", "d/both": "high"},
    ),
    "opaque and whiteout of one": (
        [file("d/a"), file("d/b")],
        [file("d/.wh..wh..opq"), file("d/.wh.a"), file("d/a", b"2")],
        {"d": "/", "d/a": "2"},
    ),
    "a lower file under its own directory": (
        [file("d")],
        [file("d/a"), file(".wh.d"), file("d/.wh..wh..opq")],
        {"d": "/", "d/a": ""},
    ),
    "a file in place of a directory": ([file("d/a")], [file("d", b"1"), file(".wh.d"), file("d/.wh.a")], {"d": "1"}),
}


@pytest.mark.parametrize(("lower", "upper", "expected"), ANY_ORDER.values(), ids=ANY_ORDER)
def test_the_order_of_whiteouts_in_a_layer_does_not_matter(
    tmp_path: Path, lower: list[Entry], upper: list[Entry], expected: dict[str, str]
) -> None:
    trees = []
    for turn in range(len(upper)):
        (tmp_path / str(turn)).mkdir()
        bench = Bench(tmp_path / str(turn))
        assert bench.unpack_layers(lower, upper[turn:] + upper[:turn]) == expected
        trees.append(tars.tree(bench.target))
    assert all(tree == trees[0] for tree in trees)


def test_a_directory_that_is_merged_is_dressed_anew(bench: Bench) -> None:
    bench.unpack_layers(
        [
            directory(
                "d", mode=0o2700, uid=1, gid=2, pax={"SCHILY.xattr.user.low": "1", "SCHILY.xattr.user.both": "1"}
            )
        ],
        [directory("d", mode=0o711, uid=3, gid=4, mtime=8, pax={"SCHILY.xattr.user.both": "2"})],
    )
    assert bench.found("d") == tars.Found("directory", b"", 0o711, 3, 4, 8 * 10**9, (("user.both", b"2"),))


def test_hard_links_are_one_file_across_layers(bench: Bench) -> None:
    bench.unpack_layers(
        [file("a", b"1", mode=0o4755, uid=5, mtime=3), hard_link("d/b", "a")], [hard_link("c", "d/b"), file("x")]
    )
    assert tars.links(bench.target, ["a", "d/b", "c", "x"]) == {frozenset({"a", "d/b", "c"}), frozenset({"x"})}
    assert bench.found("c") == tars.Found("file", b"1", 0o4755, 5, 0, 3 * 10**9)


def test_replacing_one_name_of_a_file_leaves_the_others(bench: Bench) -> None:
    layers = [[file("a", b"long content"), hard_link("b", "a")], [file("a", b"new", mode=0o600, uid=4)]]
    assert bench.unpack_layers(*layers) == {"a": "new", "b": "long content"}
    assert (bench.found("b").mode, bench.found("b").uid) == (0o644, 0)


def test_whiteouts_list_a_directory_once_a_layer(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: a directory of many files and many whiteouts of it would take hours otherwise."""
    seen: Counter[bytes] = Counter()

    def counted(directory: bytes) -> list[os.DirEntry[bytes]]:
        seen[directory] += 1
        return listed(directory)

    monkeypatch.setattr(whiteouts, "listed", counted)
    masks = [file("d/e/.wh..wh..opq"), file("d/.wh.e"), file("d/.wh..wh..opq"), file(".wh.d")]
    bench.unpack_layers([file("d/e/low"), file("d/low")], [file("d/e/high"), *masks * 5])
    assert {path.rpartition(b"/")[2]: count for path, count in seen.items()} == {b"d": 1, b"e": 1}


def test_a_deep_tree_is_removed(bench: Bench) -> None:
    deep = "/".join("d" * DEPTH_MAX)
    layers = [[file(f"{deep}/f")], [file(f"{deep}/g"), file(".wh.d")], [file("d", b"1")]]
    assert bench.unpack_layers(*layers) == {"d": "1"}


# Against a model of what the specification says.

NAMES = st.sampled_from("abc")
DIRECTORIES = st.lists(NAMES, max_size=2).map(lambda parts: "".join(f"{part}/" for part in parts))
PATHS = st.builds(str.__add__, DIRECTORIES, NAMES)
MODES = st.sampled_from([0o644, 0o4711, 0o1777])
MARKS = st.sampled_from([{}, {"SCHILY.xattr.user.mark": "1"}, {"SCHILY.xattr.user.other": "2"}])


def _members() -> st.SearchStrategy[Entry]:
    times = st.integers(0, 9)
    files = st.builds(
        lambda name, text, mode, uid, mtime, pax: file(name, text, mode=mode, uid=uid, mtime=mtime, pax=pax),
        PATHS,
        st.binary(max_size=2),
        MODES,
        times,
        times,
        MARKS,
    )
    directories = st.builds(
        lambda name, mode, gid, mtime, pax: directory(name, mode=mode, gid=gid, mtime=mtime, pax=pax),
        PATHS,
        MODES,
        times,
        times,
        MARKS,
    )
    # Links have names that no parent has: what goes through links has its own table above.
    symlinks = st.builds(lambda parent, target: symlink(f"{parent}s", target), DIRECTORIES, PATHS)
    return st.one_of(files, directories, symlinks)


HARD_LINKS = st.builds(hard_link, PATHS, PATHS)
WHITEOUTS = st.builds(
    lambda parent, name: file(f"{parent}.wh.{name}"), DIRECTORIES, st.sampled_from(["a", "b", "c", "s", ".wh..opq"])
)
# Not both in one layer: whether a link finds a file that its own layer removes depends on their order.
LAYERS = st.one_of(
    st.lists(st.one_of(_members(), HARD_LINKS), max_size=7), st.lists(st.one_of(_members(), WHITEOUTS), max_size=7)
)


@settings(max_examples=examples(80))
@given(layers=st.lists(LAYERS, min_size=1, max_size=4))
def test_random_stacks_are_what_the_model_says(
    tmp_path_factory: pytest.TempPathFactory, layers: list[list[Entry]]
) -> None:
    expected = layer_oracle.flattened(layers)
    place = tmp_path_factory.mktemp("stack")
    try:
        bench = Bench(place)
        if expected is None:
            with pytest.raises(Invalid):
                bench.unpack_layers(*layers)
        else:
            bench.unpack_layers(*layers)
            assert tars.tree(bench.target) == expected.tree
            names = [path for path, found in expected.tree.items() if found.kind != "directory"]
            assert tars.links(bench.target, names) == expected.links
    finally:
        shutil.rmtree(place)
