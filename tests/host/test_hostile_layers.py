"""What is refused, by name, without anything happening beside the target; damaged archives."""

from __future__ import annotations

import gzip
import shutil
import tarfile
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.errors import Invalid
from tests.host import tars
from tests.host.tars import END, Entry, directory, file, hard_link, header, symlink, tar
from tests.host.unpacking import Bench, needs_root

pytestmark = needs_root


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
        "h: is a hard link to ../outside/sentinel: has ..",
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
    "gzip and garbage": (gzip.compress(END) + b"garbage", "something else follows its compressed data"),
    "gzip and little garbage": (gzip.compress(END) + b"x", "something else follows its compressed data"),
    "not quite gzip": (b"\x1f\x8b garbage", "its compressed data is damaged"),
    "wrong sum": (header(b"a") + b"x" + header(b"b")[1:] + END, "a header has a wrong sum"),
    "garbage in the end": (header(b"a") + bytes(512) + header(b"b"), "something follows its end"),
    "cut in a header": (header(b"a") + header(b"b")[:100], "is cut off"),
    "cut in the content": (header(b"a", size=b"1000") + b"x" * 600, "is cut off"),
    "cut in the padding": (header(b"a", size=b"1") + b"x" * 100, "is cut off"),
    "cut before the content": (header(b"a", size=b"7777777777"), "is cut off"),
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
    "endless sparse map": (header(b"a", b"S", more=b"\1") + bytes(100), "a: its sparse map has no end"),
    "sparse map backwards": (header(b"a", b"S", segments=b"\x80" + bytes(11) + b"\xff" * 12) + END, "below zero"),
    "sparse map without data": (header(b"a", b"S", real=b"5", segments=b"0".ljust(12) + b"5") + END, "contradicts"),
}


@pytest.mark.parametrize(("content", "expected"), DAMAGED.values(), ids=DAMAGED)
def test_damaged_archives(bench: Bench, content: bytes, expected: str) -> None:
    assert expected in bench.refusal(tars.blob(bench.blobs, content)).message


@settings(max_examples=200, deadline=None, database=None)
@given(data=st.binary(max_size=3000), compress=st.sampled_from(sorted(tars.COMPRESSIONS)))
def test_random_bytes_are_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, compress: str) -> None:
    place = tmp_path_factory.mktemp("bytes")
    try:
        with pytest.raises(Invalid):
            Bench(place).unpack(tars.stack(place / "blobs", b"\1" + data, compression=compress))
    finally:
        shutil.rmtree(place)
