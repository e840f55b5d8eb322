"""Whiteouts that reach out, contradict their layer, or are no whiteouts."""

from __future__ import annotations

import tarfile
from typing import Final

from tests.host.hostile.cases import harmless, harmless_raw, named, refuse, refuse_raw
from tests.host.tars import Entry, directory, extended, file, hard_link, header, symlink

CASES: Final = named(
    {
        "through a link out": refuse("leads out of", [symlink("s", "../outside")], [file("s/.wh.sentinel")]),
        "through a link out, same layer": refuse(
            "leads out of", [symlink("s", "../outside"), file("s/.wh.sentinel")]
        ),
        "through an absolute link": refuse("no directory", [symlink("s", "{outside}")], [file("s/.wh.sentinel")]),
        "through two links out": refuse(
            "leads out of", [symlink("a", ".."), symlink("s", "a/outside")], [file("s/.wh.inner")]
        ),
        "opaque through a link out": refuse("leads out of", [symlink("s", "../outside")], [file("s/.wh..wh..opq")]),
        "opaque through an absolute link": refuse("no dir", [symlink("s", "{outside}")], [file("s/.wh..wh..opq")]),
        "opaque above the root": refuse("has ..", [file("../.wh..wh..opq")]),
        "opaque and absolute": harmless({}, [file("{outside}/.wh..wh..opq")]),
        "of no name": refuse("whiteout of no name", [file("a")], [file("d/.wh.")]),
        "of no name at the top": refuse("whiteout of no name", [file("a")], [file(".wh.")]),
        "of the directory": refuse("whiteout of no name", [file("d/a")], [file("d/.wh..")]),
        "of the parent": refuse("whiteout of no name", [file("d/a")], [file("d/.wh...")]),
        "of the root's parent": refuse("whiteout of no name", [file("a")], [file(".wh...")]),
        "up": refuse("has ..", [file("../outside/.wh.sentinel")]),
        "absolute": harmless({}, [file("{outside}/.wh.sentinel")]),
        "up by a pax path": refuse_raw("has ..", extended((b"path", b"../.wh.sentinel")) + header(b"a")),
        "with NUL": refuse_raw("unusable name", extended((b"path", b".wh.a\0b")) + header(b"a")),
        "as a directory with members": refuse("is inside a whiteout", [file(".wh.d/a")]),
        "inside a whiteout, deeper": refuse("is inside a whiteout", [file("x/.wh.d/y/z")]),
        "of a link written through": refuse(
            ".wh.l: removes the symbolic link l, through which",
            [directory("a"), symlink("l", "a")],
            [file("l/x"), file(".wh.l")],
        ),
        "of a directory with such a link": refuse(
            "removes the symbolic link d/l", [directory("a"), symlink("d/l", "/a")], [file("d/l/x"), file(".wh.d")]
        ),
        "opaque over such a link": refuse(
            "removes the symbolic link d/l",
            [directory("a"), symlink("d/l", "/a")],
            [file("d/l/x"), file("d/.wh..wh..opq")],
        ),
        "of what a hard link of its layer then needs": refuse(
            "b: is a hard link to a, which is not in the image, or not yet",
            [file("a", b"1")],
            [file(".wh.a"), hard_link("b", "a")],
        ),
        "of what a hard link of its layer has taken": harmless(
            {"b": "1"}, [file("a", b"1")], [hard_link("b", "a"), file(".wh.a")]
        ),
        "of what a file replaced, through a hard link": harmless(
            {"a": "2", "b": "1"}, [file("a", b"1")], [hard_link("b", "a"), file("a", b"2"), file(".wh.a")]
        ),
        "of the link, not of what it leads to": harmless({}, [symlink("s", "../outside")], [file(".wh.s")]),
        "of a name with slashes": harmless({"a": "/"}, [file("a/b")], [file("a//.wh.b")]),
        "of a device's name": harmless({}, [Entry(".wh.null", tarfile.CHRTYPE)]),
        "as a directory": harmless({}, [file("a/b")], [directory(".wh.a")]),
        "as a link out": harmless({}, [file("a/b")], [symlink(".wh.a", "../outside")]),
        "as a hard link out": harmless({}, [file("a")], [hard_link(".wh.a", "../outside/sentinel")]),
        "with content": harmless({"b": "2"}, [file("a")], [file(".wh.a", b"x" * 5000), file("b", b"2")]),
        "of itself, which aufs would do": harmless({"a": ""}, [file("a")], [file(".wh..wh.a")]),
        "opaque spelled almost right": harmless({"a": "", "d.wh..wh..opq": ""}, [file("a")], [file("d.wh..wh..opq")]),
        "the same again and again": harmless(
            {"d": "/", "d/b": ""},
            [file("d/a"), file("d/e/f")],
            [file("d/b"), *[file("d/.wh..wh..opq")] * 30, *[file(".wh.d")] * 30],
        ),
        "opaque, with aufs's files": harmless(
            {"d": "/"}, [file("d/a")], [directory("d/.wh..wh.plnk"), file("d/.wh..wh.aufs"), file("d/.wh..wh..opq")]
        ),
        "hidden, shown, hidden": harmless(
            {}, [file("d/a")], [file(".wh.d")], [file("d/a", b"2")], [file("d/.wh.a")], [file(".wh.d")]
        ),
        "not UTF-8": harmless_raw({}, header(b"\xff"), header(b".wh.\xff")),
        "of all, with a link out below": harmless(
            {"n": ""}, [symlink("d/s", "../../outside"), file("d/a")], [file("n"), file(".wh..wh..opq")]
        ),
    }
)
