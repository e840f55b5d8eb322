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
from tests.host.tars import END, Entry, directory, file, hard_link, header, symlink, tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.host.tars import Found, Stack

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
        shutil.rmtree(self.target)
        self.target.mkdir(mode=0o700)
        try:
            flatten(stack.layers, stack.blob_of, self.target)
        finally:
            assert self.beside() == self._before
            assert sorted(os.listdir(self.target.parent)) == ["blobs", "outside", "target"]
        return tars.contents(self.target)

    def unpack_bytes(self, stack: Stack) -> list[str]:
        """Unpack into an emptied target what need not be text."""
        shutil.rmtree(self.target)
        self.target.mkdir()
        flatten(stack.layers, stack.blob_of, self.target)
        return list(tars.tree(self.target))

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
    layers = [[file(f"{deep}/f")], [file(f"{deep}/g"), file(".wh.d")], [file("d", b"1")]]
    assert bench.unpack_layers(*layers) == {"d": "1"}


# What is refused, by name, without anything happening beside the target.

LONG = "n" * 256
DEEP = "/".join(["p" * 200] * 25)

# the layers, what the message has in it; {outside} is a directory with a sentinel in it
REFUSED: dict[str, tuple[list[list[Entry]], str]] = {
    "up": ([[file("../outside/x")]], "../outside/x: has .."),
    "up from within": ([[directory("a"), file("a/../../outside/sentinel")]], "has .."),
    "up, but not out": ([[directory("a"), file("a/../b")]], "a/../b: has .."),
    "up at the end": ([[directory("a/..")]], "has .."),
    "absolute": ([[file("{outside}/sentinel", b"changed")]], "sentinel: has an absolute name"),
    "just a slash": ([[directory("/")]], "has an absolute name"),
    "empty": ([[file("")]], "empty"),
    "NUL": ([[file("x", pax={"path": "a\0b"})]], "unusable name"),
    "NUL in the parent": ([[file("x", pax={"path": "a\0/b"})]], "unusable name"),
    "long part": ([[file(LONG)]], "n: has a name or link that is too long"),
    "long parent": ([[file(f"{LONG}/a")]], "too long"),
    "long path": ([[file(DEEP)]], "too long"),
    "long whiteout": ([[file(f".wh.{LONG}")]], "too long"),
    "long link": ([[symlink("s", "t" * 5000)]], "s: has a name or link that is too long"),
    "empty link": ([[symlink("s", "")]], "s: is a symbolic link with an unusable target"),
    "NUL in a link": ([[symlink("s", "x", pax={"linkpath": "a\0b"})]], "unusable target"),
    "file as root": ([[file("./")]], "a file in place of the image's root"),
    "link as root": ([[symlink(".", "{outside}")]], "a symbolic link in place of"),
    "hard link as root": ([[file("a"), hard_link("./.", "a")]], "a hard link in place of"),
    "character device": ([[Entry("null", tarfile.CHRTYPE)]], "null: is a character device"),
    "block device": ([[Entry("dev/sda", tarfile.BLKTYPE)]], "dev/sda: is a block device"),
    "FIFO": ([[Entry("pipe", tarfile.FIFOTYPE)]], "pipe: is a FIFO"),
    "unknown type": ([[Entry("odd", b"V")]], "odd: is of an unknown type"),
    "hard link out": (
        [[hard_link("h", "../outside/sentinel")]],
        "h: is a hard link to ../outside/sentinel, which has ..",
    ),
    "hard link, absolute": ([[hard_link("h", "{outside}/sentinel")]], "which is not in the image"),
    "hard link to nothing": ([[hard_link("h", "x/y")]], "which is not in the image, or not yet"),
    "hard link to nothing, empty": ([[hard_link("h", "")]], "h: is a hard link to"),
    "hard link to a later file": ([[hard_link("h", "a"), file("a")]], "or not yet"),
    "hard link below a file": ([[file("a"), hard_link("h", "a/b")]], "not in the image"),
    "hard link to a directory": ([[directory("d"), hard_link("h", "d")]], "which is a directory"),
    "hard link to the root": ([[hard_link("h", ".")]], "which is a directory"),
    "hard link to itself": ([[file("a"), hard_link("a", "./a")]], "which it replaces"),
    "hard link over its target": ([[file("d/a"), hard_link("d", "d/a")]], "which it replaces"),
    "hard link through a link out": ([[symlink("s", "../outside"), hard_link("h", "s/sentinel")]], "leads out of"),
    "hard link through an absolute link": (
        [[symlink("s", "{outside}"), hard_link("h", "s/sentinel")]],
        "no directory",
    ),
    "parent out": (
        [[symlink("s", "../outside"), file("s/x")]],
        "s/x: its parent s is a symbolic link that leads out",
    ),
    "parent out, in two steps": (
        [[directory("d"), symlink("d/up", ".."), symlink("s", "d/up/../outside")], [file("s/x")]],
        "leads out of the image",
    ),
    "parent out, absolute": ([[symlink("s", "/../outside")], [file("s/x")]], "leads out of the image"),
    "parent out, absolute by itself": (
        [[symlink("s", "{outside}"), file("s/sentinel", b"x")]],
        "leads to no directory",
    ),
    "whiteout through a link out": ([[symlink("s", "../outside")], [file("s/.wh.sentinel")]], "leads out of"),
    "opaque through a link out": ([[symlink("s", "../outside")], [file("s/.wh..wh..opq")]], "leads out of"),
    "opaque through an absolute link": ([[symlink("s", "{outside}")], [file("s/.wh..wh..opq")]], "no directory"),
    "parent to nothing": ([[symlink("s", "nothing"), file("s/x")]], "leads to no directory"),
    "parent to a file": ([[file("f"), symlink("s", "f"), file("s/x")]], "leads to no directory"),
    "parent through a file": ([[file("f"), symlink("s", "f/.."), file("s/x")]], "leads to no directory"),
    "parent to itself": ([[symlink("s", "s"), file("s/x")]], "leads to no directory"),
    "parents in a circle": ([[symlink("a", "b"), symlink("b", "a"), directory("a/x")]], "leads to no directory"),
    "parent is a file": ([[file("d"), file("d/a")]], "d/a: its parent d is a file of the same layer"),
    "whiteout of no name": ([[file("a")], [file("d/.wh.")]], "whiteout of no name"),
    "whiteout of the directory": ([[file("d/a")], [file("d/.wh..")]], "whiteout of no name"),
    "whiteout of the parent": ([[file("d/a")], [file("d/.wh...")]], "whiteout of no name"),
    "whiteout, up": ([[file("../outside/.wh.sentinel")]], "has .."),
    "whiteout, absolute": ([[file("{outside}/.wh.sentinel")]], "has an absolute name"),
    "below a whiteout": ([[file(".wh.d/a")]], "is inside a whiteout"),
    "whiteout of a link written through": (
        [[directory("a"), symlink("l", "a")], [file("l/x"), file(".wh.l")]],
        ".wh.l: removes the symbolic link l, through which",
    ),
    "whiteout of a directory with such a link": (
        [[directory("a"), symlink("d/l", "/a")], [file("d/l/x"), file(".wh.d")]],
        "removes the symbolic link d/l",
    ),
    "overlay attribute": (
        [[file("a", pax={"SCHILY.xattr.trusted.overlay.opaque": "y"})]],
        "a: has the extended attr",
    ),
    "overlay attribute of users": (
        [[directory("d", pax={"SCHILY.xattr.user.overlay.whiteout": "y"})]],
        "the overlay",
    ),
    "broken capability": ([[file("a", pax={"SCHILY.xattr.security.capability": "x"})]], "unusable"),
    "attribute without a name": ([[file("a", pax={"SCHILY.xattr.user.": "x"})]], "unusable"),
    "attribute with NUL": ([[file("a", pax={"SCHILY.xattr.user.x\0y": "x"})]], "unusable"),
    "attribute with a long name": ([[file("a", pax={f"SCHILY.xattr.user.{LONG}": "x"})]], "unusable"),
    "users' attribute of a link": ([[symlink("s", "x", pax={"SCHILY.xattr.user.a": "x"})]], "unusable"),
    "nobody's": ([[file("a", uid=0xFFFFFFFF)]], "a: belongs to 4294967295"),
    "negative user": ([[file("a", pax={"uid": "-1"})]], "unreadable number"),
    "time": ([[file("a", pax={"mtime": "yesterday"})]], "a: it has an unreadable modification time"),
    "time beyond the clock": ([[file("a", pax={"mtime": "99999999999"})]], "no file system can keep"),
    "sparse in an unknown way": (
        [[file("a", pax={"GNU.sparse.major": "2"})]],
        "a: it is sparse in an unknown format",
    ),
    "a name that would break the line": ([[file("a\nb\x1b/../x")]], "a\\nb\\x1b/../x: has .."),
}


@pytest.mark.parametrize(("layers", "expected"), REFUSED.values(), ids=REFUSED)
def test_refused(bench: Bench, layers: list[list[Entry]], expected: str) -> None:
    def real(text: str) -> str:
        return text.replace("{outside}", str(bench.outside))

    archives = [
        tar(*(replace(entry, name=real(entry.name), link=real(entry.link)) for entry in layer)) for layer in layers
    ]
    assert expected in bench.refusal(tars.stack(bench.blobs, *archives)).message


def test_what_is_refused_replaces_nothing_outside(bench: Bench) -> None:
    """An absolute link that happens to lead into a directory of the image is the image's own affair."""
    inside = str(bench.outside).lstrip("/")
    entries = [directory(inside), symlink("s", str(bench.outside)), file("s/sentinel", b"the image's")]
    assert bench.unpack_layers(entries)[f"{inside}/sentinel"] == "the image's"


DAMAGED = {
    "text": (b"<html>not found</html>" * 100, "it is no tar archive"),
    "little text": (b"not found", "it is no tar archive"),
    "nothing": (b"", "it is empty, no tar archive"),
    "gzip of nothing": (gzip.compress(b""), "it is empty, no tar archive"),
    "gzip of text": (gzip.compress(b"x" * 600), "it is no tar archive"),
    "gzip and garbage": (gzip.compress(END) + b"garbage", "its compressed data is damaged"),
    "not quite gzip": (b"\x1f\x8b garbage", "its compressed data is damaged"),
    "wrong sum": (header(b"a") + b"x" + header(b"b")[1:] + END, "a header has a wrong sum"),
    "garbage in the end": (header(b"a") + bytes(512) + header(b"b"), "something follows its end"),
    "cut in a header": (header(b"a") + header(b"b")[:100], "is cut off"),
    "cut in the content": (header(b"a", size=b"1000") + b"x" * 600, "is cut off"),
    "cut in the padding": (header(b"a", size=b"1") + b"x" * 100, "is cut off"),
    "cut before the content": (header(b"a", size=b"777777777777"), "is cut off"),
    "cut in a pax header": (tars.extended((b"path", b"x"))[:520], "is cut off"),
    "pax for nothing": (tars.extended((b"path", b"x")) + END, "ends after an extended header"),
    "size of letters": (header(b"a", size=b"zz") + END, "a: the tar archive is damaged: a header has an unreadable"),
    "size below zero": (header(b"a", size=b"\xff" * 12) + END, "a: "),
    "size above all": (header(b"a", size=b"\x80" + b"\xff" * 11) + END, "no file system can keep"),
    "pax size of letters": (tars.extended((b"size", b"x")) + header(b"a") + END, "unreadable number"),
    "huge pax header": (header(b"x", b"x", size=b"4000001") + bytes(1 << 20) + END, "more than 1 MiB"),
    "huge chain of pax headers": (
        b"".join(tars.extended((b"%d" % number, b"v" * 900_000)) for number in range(3)) + header(b"a"),
        "more than 2 MiB",
    ),
    "pax length of letters": (header(b"x", b"x", size=b"5") + tars.padded(b"x a=b") + header(b"a"), "pax record"),
    "pax length too large": (header(b"x", b"x", size=b"7") + tars.padded(b"99 a=b\n") + header(b"a"), "pax record"),
    "pax length too small": (header(b"x", b"x", size=b"6") + tars.padded(b"2 a=b\n") + header(b"a"), "pax record"),
    "pax length of zero": (header(b"x", b"x", size=b"6") + tars.padded(b"0 a=b\n") + header(b"a"), "pax record"),
    "pax without newline": (header(b"x", b"x", size=b"6") + tars.padded(b"6 a=bX") + header(b"a"), "pax record"),
    "pax without value": (header(b"x", b"x", size=b"5") + tars.padded(b"5 ab\n") + header(b"a"), "pax record"),
    "endless sparse map": (header(b"a", b"S")[:482] + b"\1" + bytes(29), "wrong sum"),
}


@pytest.mark.parametrize(("content", "expected"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_archives(bench: Bench, content: bytes, expected: str) -> None:
    assert expected in bench.refusal(tars.blob(bench.blobs, content)).message


# Compression and digests.

SOME = tar(directory("d", mtime=3), file("d/a", b"text " * 3000), file("b", os.urandom(5000)), symlink("s", "d"))


@pytest.mark.parametrize("compression", tars.COMPRESSIONS)
@pytest.mark.parametrize("streams", [1, 2, 7])
def test_compressions(bench: Bench, compression: str, streams: int) -> None:
    """Whatever the media type says, and also when a blob is several streams one after the other."""
    step = len(SOME) // streams + 1
    pieces = [SOME[start : start + step] for start in range(0, len(SOME), step)]
    content = b"".join(map(tars.COMPRESSIONS[compression], pieces))
    assert set(bench.unpack_bytes(tars.blob(bench.blobs, content, tars.digest(SOME)))) == {"d", "d/a", "b", "s"}


@pytest.mark.parametrize("compression", ["gzip", "xz", "bzip2", "zstd"])
def test_zeros_may_fill_a_blob(bench: Bench, compression: str) -> None:
    content = tars.COMPRESSIONS[compression](SOME) + bytes(1 << 19)
    assert bench.unpack_bytes(tars.blob(bench.blobs, content, tars.digest(SOME)))


def test_zstd_with_frames_to_skip(bench: Bench) -> None:
    skip = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    content = skip + tars.COMPRESSIONS["zstd"](SOME) + skip
    assert bench.unpack_bytes(tars.blob(bench.blobs, content, tars.digest(SOME)))


@pytest.fixture
def without_isal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine for which isal has no wheel."""
    monkeypatch.setattr(decompress, "igzip", None)


@pytest.mark.usefixtures("without_isal")
def test_gzip_without_isal(bench: Bench) -> None:
    big = tar(file("zeros", bytes(3 << 20)), file("a", b"1"))
    content = gzip.compress(big[:5000]) + gzip.compress(big[5000:]) + bytes(100)
    assert set(bench.unpack_bytes(tars.blob(bench.blobs, content, tars.digest(big)))) == {"zeros", "a"}
    cut = tars.blob(bench.blobs, gzip.compress(big)[:-1])
    assert "cut off" in bench.refusal(cut).message


@pytest.mark.parametrize("compression", ["gzip", "zstd", "xz", "bzip2"])
def test_cut_anywhere(bench: Bench, compression: str) -> None:
    """Also where the tar is complete already; its digests being those of the cut blob."""
    whole = tars.COMPRESSIONS[compression](SOME)
    for end in [*range(1, len(whole) - 40, 97), *range(len(whole) - 40, len(whole))]:
        bench.refusal(tars.blob(bench.blobs, whole[:end]))


@pytest.mark.parametrize("compression", tars.COMPRESSIONS)
def test_a_bit_flipped_anywhere(bench: Bench, compression: str) -> None:
    """Never anything but the same tree or one clear refusal, the blob's digest being that of the flipped one."""
    whole = tars.COMPRESSIONS[compression](SOME)
    for place in range(0, len(whole), 61):
        flipped = whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :]
        stack = tars.blob(bench.blobs, flipped, tars.digest(SOME))
        try:
            bench.unpack_bytes(stack)
        except Invalid as error:
            assert stack.layers[0].digest in error.message  # noqa: PT017 - either is fine
        else:
            assert bench.found("d/a").data == b"text " * 3000


def test_the_blobs_digest_is_checked_before_anything_is_said_about_its_content(bench: Bench) -> None:
    for content in (SOME, tars.COMPRESSIONS["gzip"](SOME)[:-9], b"garbage", tar(file("../x"))):
        stack = tars.blob(bench.blobs, content)
        wanted = replace(stack.layers[0], digest=tars.digest(b"other"))
        (bench.blobs / wanted.digest).write_bytes(content)
        error = bench.refusal(tars.Stack((wanted,), bench.blobs))
        assert f"the blob's content has the digest {tars.digest(content)}" in error.message


@pytest.mark.parametrize("compression", tars.COMPRESSIONS)
def test_the_archives_digest_is_checked(bench: Bench, compression: str) -> None:
    stack = tars.stack(bench.blobs, SOME, compression=compression)
    wrong = replace(stack.layers[0], diff_id=tars.digest(b"other"))
    assert f"unpacks to {tars.digest(SOME)}" in bench.refusal(tars.Stack((wrong,), bench.blobs)).message


def test_digests_cover_what_follows_the_end_of_the_archive(bench: Bench) -> None:
    longer = SOME + bytes(1 << 20) + b"more"
    bench.unpack_bytes(tars.stack(bench.blobs, longer, compression="gzip"))
    cut = tars.blob(bench.blobs, tars.COMPRESSIONS["gzip"](SOME), tars.digest(longer))
    assert "unpacks to" in bench.refusal(cut).message


def test_an_unknown_diff_id_is_not_checked(bench: Bench) -> None:
    assert bench.unpack_bytes(tars.blob(bench.blobs, tars.COMPRESSIONS["xz"](SOME)))


def test_every_layer_is_checked(bench: Bench) -> None:
    stack = tars.stack(bench.blobs, tar(file("a")), tar(file("b")))
    (bench.blobs / stack.layers[1].digest).write_bytes(tar(file("c")))
    assert "the blob's content" in bench.refusal(stack).message


@pytest.mark.parametrize("compression", ["gzip", "zstd", "xz", "bzip2"])
def test_memory_stays_bounded_whatever_a_blob_expands_to(bench: Bench, compression: str) -> None:
    zeros = bytes(1 << 20)
    compress = tars.COMPRESSIONS[compression]
    head = header(b"zeros", size=b"%o" % (400 << 20))
    content = compress(head) + compress(zeros) * 400 + compress(END)
    if compression == "zstd":  # one frame: its blocks expand 32,768-fold
        content = zstandard.ZstdCompressor().compress(head + zeros * 400 + END)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with decompress.Blob(_written(bench, content)) as blob:
        stream = decompress.Content(blob)
        assert [member.size for member in members(stream)] == [400 << 20]
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 150 << 10


def _written(bench: Bench, content: bytes) -> Path:
    stack = tars.blob(bench.blobs, content)
    return stack.blob_of(stack.layers[0].digest)


# The node's own trouble.


def test_a_missing_blob(bench: Bench) -> None:
    stack = tars.stack(bench.blobs, SOME)
    (bench.blobs / stack.layers[0].digest).unlink()
    with pytest.raises(Failed, match="cannot be read: No such file"):
        bench.unpack(stack)


def test_an_unreadable_blob(bench: Bench) -> None:
    stack = tars.stack(bench.blobs, SOME)
    (bench.blobs / stack.layers[0].digest).unlink()
    (bench.blobs / stack.layers[0].digest).mkdir()
    with pytest.raises(Failed, match="cannot be read: Is a directory"):
        bench.unpack(stack)


def test_a_missing_target(bench: Bench) -> None:
    stack = tars.stack(bench.blobs, SOME)
    with pytest.raises(Failed, match="cannot be unpacked: No such file"):
        flatten(stack.layers, stack.blob_of, bench.target / "missing")


@pytest.mark.parametrize(
    ("number", "hint"), [(errno.ENOSPC, "free space"), (errno.EIO, "disk"), (errno.EPERM, "as root")]
)
def test_trouble_while_writing(bench: Bench, monkeypatch: pytest.MonkeyPatch, number: int, hint: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fchown", fail)
    with pytest.raises(Failed, match=f"d: cannot be unpacked: {os.strerror(number)}") as caught:
        bench.unpack(tars.stack(bench.blobs, SOME))
    assert hint in str(caught.value.hint)


def test_a_file_that_is_too_large(bench: Bench) -> None:
    """Python ignores SIGXFSZ, so that the limit gives the error that a file system gives."""
    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    stack = tars.stack(bench.blobs, tar(file("big", b"x" * 100_000)))
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        assert "big: is too large" in bench.refusal(stack).message
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_file_system_without_attributes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "setxattr", fail)
    monkeypatch.setattr(os, "listxattr", fail)
    attributes.clear_xattrs(os.fsencode(bench.target))
    with pytest.raises(Failed, match=r"cannot keep the extended attribute user\.a"):
        bench.unpack_layers([file("a", pax={"SCHILY.xattr.user.a": "1"})])


def test_nothing_stays_open(bench: Bench) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(Invalid):
        bench.unpack_layers([file("a", pax={"SCHILY.xattr.trusted.overlay.a": "1"})])
    bench.unpack(tars.stack(bench.blobs, SOME))
    assert len(os.listdir("/proc/self/fd")) == len(before)


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


@settings(max_examples=300, deadline=None, database=None)
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


@settings(max_examples=200, deadline=None, database=None)
@given(data=st.binary(max_size=3000), compress=st.sampled_from(sorted(tars.COMPRESSIONS)))
def test_random_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, compress: str) -> None:
    place = tmp_path_factory.mktemp("bytes")
    try:
        with pytest.raises(Invalid):
            Bench(place).unpack(tars.stack(place / "blobs", b"\1" + data, compression=compress))
    finally:
        shutil.rmtree(place)
