"""Members that occur twice: of a name the last one counts, whatever kinds they are of."""

from __future__ import annotations

from typing import Final

from tests.host.hostile.cases import harmless, harmless_raw, named, refuse
from tests.host.tars import directory, extended, file, hard_link, header, symlink

CASES: Final = named(
    {
        "file and file": harmless({"a": "2"}, [file("a", b"first"), file("a", b"2")]),
        "file and directory": harmless({"a": "/"}, [file("a", b"1"), directory("a")]),
        "file and link": harmless({"a": "-> /etc"}, [file("a", b"1"), symlink("a", "/etc")]),
        "file and hard link": harmless({"a": "1", "b": "1"}, [file("b", b"1"), file("a", b"2"), hard_link("a", "b")]),
        "directory and file": harmless({"a": "1"}, [directory("a"), file("a/b"), file("a", b"1")]),
        "directory and directory": harmless({"a": "/", "a/b": ""}, [directory("a"), file("a/b"), directory("a")]),
        "directory and link": harmless({"a": "-> ../outside"}, [file("a/b"), symlink("a", "../outside")]),
        "link and file": harmless({"a": "1"}, [symlink("a", "../outside/sentinel"), file("a", b"1")]),
        "link and directory": harmless({"a": "/", "a/b": ""}, [symlink("a", ".."), directory("a"), file("a/b")]),
        "link and link": harmless({"a": "-> y"}, [symlink("a", "../x"), symlink("a", "y")]),
        "hard link and file": harmless({"a": "1", "b": "2"}, [file("a", b"1"), hard_link("b", "a"), file("b", b"2")]),
        "hard link, its target twice": harmless(
            {"a": "2", "b": "1"}, [file("a", b"1"), hard_link("b", "a"), file("a", b"2")]
        ),
        "spelled in other ways": harmless(
            {"a": "/", "a/b": "3"}, [file("a/b", b"1"), file("./a//b"), file("a/./b", b"3")]
        ),
        "with slashes": harmless({"a": "/"}, [file("a"), directory("a/"), directory("a//")]),
        "file with a slash": harmless({"a": "2"}, [directory("a"), file("a/", b"2")]),
        "through a link": harmless(
            {"d": "/", "d/a": "2", "s": "-> d"}, [file("d/a", b"1"), symlink("s", "d"), file("s/a", b"2")]
        ),
        "root again and again": harmless({"a": ""}, [directory("./"), file("a"), directory("."), directory("././")]),
        "in three layers": harmless({"a": "3"}, [file("a", b"1")], [directory("a")], [file("a", b"3")]),
        "the same archive twice": harmless({"a": "1"}, [file("a", b"1")], [file("a", b"1")]),
        "the last is refused": refuse("a: is a hard link to a, which it replaces", [file("a"), hard_link("a", "a")]),
        "by other ways of naming": harmless_raw(
            {"a": "", "p": "/", "p/a": ""},
            header(b"a"),
            header(b"a", prefix=b"p") + extended((b"path", b"p/a")) + header(b"x"),
        ),
        "file, directory, link, file": harmless(
            {"a": "4", "t": "/"}, [directory("t"), file("a"), directory("a"), symlink("a", "t"), file("a", b"4")]
        ),
        "case differs": harmless({"a": "1", "A": "2"}, [file("a", b"1"), file("A", b"2")]),
        "composed and decomposed": harmless(
            {"\u00e9": "1", "e\u0301": "2"}, [file("\u00e9", b"1"), file("e\u0301", b"2")]
        ),
    }
)
