"""Layers become one tree: what the OCI specification says, what hostile images try, what damaged blobs do.

As root, on a file system with extended attributes, as the reconciler runs.
"""

from __future__ import annotations

import errno
import gzip
import os
import resource
import shutil
import signal
import stat
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import Failed, Invalid
from reconciler.host import attributes, decompress
from reconciler.host.layers import flatten
from reconciler.host.tarstream import members
from tests.host import layer_oracle, tars
from tests.host.tars import END, directory, file, hard_link, header, symlink, tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.host.tars import Entry, Found, Stack

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="owners and file capabilities take root")


class Bench:
    """A place to unpack in, with a tree beside it that must never change."""

    def __init__(self, path: Path) -> None:
        self.blobs = path / "blobs"
        self.target = path / "target"
        self.outside = path / "outside"
        self.target.mkdir(mode=0o700)
        (self.outside / "inner").mkdir(parents=True)
        (self.outside / "sentinel").write_text("untouched")
        (self.outside / "inner/sentinel").write_text("untouched")
        self._before = self.beside()

    def beside(self) -> dict[str, Found]:
        everything = tars.tree(self.target.parent)
        return {path: found for path, found in everything.items() if path.split("/")[0] == "outside"}

    def unpack(self, stack: Stack) -> dict[str, str]:
        try:
            flatten(stack.layers, stack.blob_of, self.target)
        finally:
            assert self.beside() == self._before
            assert sorted(os.listdir(self.target.parent)) == ["blobs", "outside", "target"]
        return tars.contents(self.target)

    def unpack_layers(self, *layers: list[Entry]) -> dict[str, str]:
        return self.unpack(tars.stack(self.blobs, *(tar(*layer) for layer in layers)))

    def refusal(self, stack: Stack) -> Invalid:
        with pytest.raises(Invalid) as caught:
            self.unpack(stack)
        assert stack.layers[-1].digest in caught.value.message
        assert "\n" not in caught.value.message
        assert caught.value.hint
        return caught.value

    def found(self, name: str) -> Found:
        return tars.found(self.target / name)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(autouse=True)
def usual_umask() -> Iterator[None]:
    """A mask that would show wherever a mode is left to it."""
    before = os.umask(0o027)
    yield
    os.umask(before)


# What is in a layer is on disk.


def test_everything_a_member_says_is_kept(bench: Bench) -> None:
    capability = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
    xattrs = {
        "SCHILY.xattr.security.capability": capability.decode(),
        "SCHILY.xattr.user.note": "",
        "SCHILY.xattr.trusted.note": "kept",
        "SCHILY.xattr.security.selinux": "the host labels its files",
        "SCHILY.xattr.com.apple.provenance": "another system",
    }
    bench.unpack_layers(
        [
            directory("usr", mode=0o1755, uid=7, gid=8, pax={"mtime": "1700000000.123456789"}),
            directory("usr/bin/", mode=0o2750, gid=9, mtime=5, pax={"SCHILY.xattr.user.on": "directory"}),
            file("usr/bin/ping", b"\x7fELF", mode=0o4711, uid=10, gid=11, pax={"mtime": "-1.5", **xattrs}),
            symlink("usr/bin/sh", "/bin/../nowhere", uid=3, gid=4, pax={"mtime": "12.000000001"}),
            symlink("usr/bin/t", "x", pax={"SCHILY.xattr.trusted.note": "on a link"}),
        ]
    )
    kept = (("security.capability", capability), ("trusted.note", b"kept"), ("user.note", b""))
    assert tars.tree(bench.target) == {
        "usr": tars.Found("directory", b"", 0o1755, 7, 8, 1700000000123456789),
        "usr/bin": tars.Found("directory", b"", 0o2750, 0, 9, 5 * 10**9, (("user.on", b"directory"),)),
        "usr/bin/ping": tars.Found("file", b"\x7fELF", 0o4711, 10, 11, -1500000000, kept),
        "usr/bin/sh": tars.Found("symlink", b"/bin/../nowhere", 0o777, 3, 4, 12000000001),
        "usr/bin/t": tars.Found("symlink", b"x", 0o777, 0, 0, 10**9, (("trusted.note", b"on a link"),)),
    }


def test_parents_without_a_member_are_plain_directories_of_root(bench: Bench) -> None:
    bench.unpack_layers([directory("a", mode=0o2770, gid=5), file("a/b/c/d")])
    assert bench.found("a/b") == bench.found("a/b/c") == tars.Found("directory", b"", 0o755, 0, 0, 0)


def test_directories_have_their_own_time_whatever_came_after_them(bench: Bench) -> None:
    bench.unpack_layers([directory("a", mtime=7), file("a/x")], [file("a/y")], [file("a/.wh.x")])
    assert bench.found("a").mtime_ns == 7 * 10**9


@pytest.mark.parametrize(("asked", "given"), [(0o755, 0o755), (0o7777, 0o755), (0o750, 0o750), (0, 0o700)])
def test_the_root_takes_time_and_a_sane_mode(bench: Bench, asked: int, given: int) -> None:
    bench.unpack_layers([directory("./", mode=asked, uid=9, mtime=3), file("./a", b"1")])
    assert tars.found(bench.target) == tars.Found("directory", b"", given, 0, 0, 3 * 10**9)


def test_a_root_that_no_layer_mentions_is_as_an_implied_directory(bench: Bench) -> None:
    assert bench.unpack_layers([file("a", b"1")]) == {"a": "1"}
    assert tars.found(bench.target) == tars.Found("directory", b"", 0o755, 0, 0, 0)


@pytest.mark.parametrize("name", ["a/b", "./a/b", ".//a/./b", "a//b"])
def test_names_are_cleaned(bench: Bench, name: str) -> None:
    assert bench.unpack_layers([directory("./a/."), file(name, b"1")]) == {"a": "/", "a/b": "1"}


@pytest.mark.parametrize("form", tars.FORMATS)
def test_every_format_of_headers(bench: Bench, form: str) -> None:
    long = "/".join(["d" * 40] * (3 if form == "ustar" else 60))
    entries = [directory("a", mtime=3), file(f"{long}/f", b"x" * 700, uid=12), symlink("a/s", "t" * 90)]
    if form != "ustar":
        entries += [hard_link("h", f"{long}/f"), symlink("long", "t" * 300), file("rich", uid=3_000_000_000)]
    bench.unpack(tars.stack(bench.blobs, tar(*entries, form=form)))
    assert bench.found(f"{long}/f") == tars.Found("file", b"x" * 700, 0o644, 12, 0, 10**9)
    assert bench.found("a/s").data == b"t" * 90
    if form != "ustar":
        assert bench.found("h").data == b"x" * 700
        assert bench.found("long").data == b"t" * 300
        assert bench.found("rich").uid == 3_000_000_000


HEADERS = {
    "V7 directory": (header(b"a/", b"\0", magic=b""), {"a": "/"}),
    "V7 file": (header(b"a", b"\0", magic=b""), {"a": ""}),
    "contiguous file": (header(b"a", b"7"), {"a": ""}),
    "prefix": (header(b"a", prefix=b"p/q"), {"p": "/", "p/q": "/", "p/q/a": ""}),
    "GNU has other things than a prefix": (header(b"a", magic=b"ustar  \0", prefix=b"14000000000"), {"a": ""}),
    "sizes of links count for nothing": (header(b"a", b"2", link=b"b", size=b"777"), {"a": "-> b"}),
    "binary size": (header(b"a", size=b"\x80" + bytes(10) + b"\3") + tars.padded(b"abc"), {"a": "abc"}),
    "pax size": (tars.extended((b"size", b"3")) + header(b"a") + tars.padded(b"abc"), {"a": "abc"}),
    "pax for all": (tars.extended((b"path", b"z"), flag=b"g") + header(b"a", b"5"), {"z": "/"}),
    "own pax over common pax": (
        tars.extended((b"path", b"z"), flag=b"g") + tars.extended((b"path", b"y")) + header(b"a", b"5"),
        {"y": "/"},
    ),
    "empty pax record": (tars.extended((b"path", b""), (b"uid", b"")) + header(b"a", b"5"), {"a": "/"}),
    "one block of zeros at the end": (header(b"a", b"5") + bytes(512), {"a": "/"}),
    "something after the end": (header(b"a", b"5") + END + b"anything", {"a": "/"}),
    "nothing but the end": (b"", {}),
}


@pytest.mark.parametrize(("archive", "expected"), HEADERS.values(), ids=HEADERS)
def test_headers_by_hand(bench: Bench, archive: bytes, expected: dict[str, str]) -> None:
    assert bench.unpack(tars.stack(bench.blobs, archive + END)) == expected


def test_an_archive_may_lack_its_end_mark(bench: Bench) -> None:
    assert bench.unpack(tars.stack(bench.blobs, header(b"a", b"5"))) == {"a": "/"}


def test_names_need_not_be_utf8(bench: Bench) -> None:
    name = b"caf\xe9 \xff".decode("utf-8", "surrogateescape")
    for form in ("gnu", "ustar"):
        bench.unpack(tars.stack(bench.blobs, tar(file(name), symlink("s", name), form=form)))
        assert sorted(os.listdir(os.fsencode(bench.target))) == [b"caf\xe9 \xff", b"s"]
        assert os.readlink(os.fsencode(bench.target) + b"/s") == b"caf\xe9 \xff"


@pytest.mark.parametrize("version", ["gnu", "0.0", "0.1", "1.0"])
def test_sparse_files_of_gnu_tar(bench: Bench, version: str) -> None:
    bench.unpack(tars.stack(bench.blobs, tars.sparse(version)))
    status = (bench.target / "holes").stat()
    assert bench.found("holes") == tars.Found("file", tars.holes(), 0o644, 0, 0, 10**9)
    assert status.st_blocks * 512 < status.st_size // 2


SPARSE = {
    "beyond its size": ("100,50", "120", 50),
    "backwards": ("100,10,50,10", "200", 20),
    "more than is there": ("0,600", "600", 50),
    "odd": ("0,50,60", "100", 50),
    "no number": ("0,x", "100", 50),
    "negative": ("-5,50", "100", 50),
    "huge": ("0,99999999999999999999", "100", 50),
}


@pytest.mark.parametrize(("places", "size", "stored"), SPARSE.values(), ids=SPARSE)
def test_sparse_maps_that_make_no_sense(bench: Bench, places: str, size: str, stored: int) -> None:
    records = {"GNU.sparse.map": places, "GNU.sparse.size": size, "GNU.sparse.name": "holes"}
    archive = tar(file("GNUSparseFile.0/holes", b"x" * stored, pax=records))
    assert "holes: it" in bench.refusal(tars.blob(bench.blobs, archive)).message


@pytest.mark.parametrize("data", [b"", b"1", b"1\n0\n", b"x\n", b"9" * 600, b"999999999\n", b"1\n" * 300])
def test_sparse_maps_in_the_data_that_make_no_sense(bench: Bench, data: bytes) -> None:
    records = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9"}
    archive = tar(file("a", data, pax=records))
    assert "a: its sparse map" in bench.refusal(tars.blob(bench.blobs, archive)).message


# Layer upon layer.

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


def test_trees_deeper_than_pythons_stack(bench: Bench) -> None:
    deep = "/".join("d" * 1800)
    assert len(bench.unpack_layers([file(f"{deep}/f")], [file(f"{deep}/g")])) == 1802
    shutil.rmtree(bench.target / "d/d") if False else None  # noqa: B015
    bench.target.rename(bench.target.with_name("used"))
    bench.target.mkdir()
    (bench.target.parent / "used").rename(bench.blobs / "used")
    layers = [[file(f"{deep}/f")], [file(f"{deep}/g"), file(".wh.d")], [file("d", b"1")]]
    assert bench.unpack_layers(*layers) == {"d": "1"}
