"""Names that lead out, are too long, or are in no encoding."""

from __future__ import annotations

from typing import Final

from tests.host.hostile.cases import harmless, harmless_raw, named, refuse, refuse_raw
from tests.host.tars import directory, extended, file, header, symlink

LONG: Final = "n" * 256
DEEP: Final = "/".join(["p" * 200] * 25)


def _gnu_name(name: bytes) -> bytes:
    return header(b"././@LongLink", b"L", size=b"%o" % len(name)) + name + bytes(-len(name) % 512)


CASES: Final = named(
    {
        # Traversal
        "up": refuse("../outside/x: has ..", [file("../outside/x")]),
        "up from within": refuse("has ..", [directory("a"), file("a/../../outside/sentinel")]),
        "up, but not out": refuse("a/../b: has ..", [directory("a"), file("a/../b")]),
        "up at the end": refuse("has ..", [directory("a/..")]),
        "up at the end, with a slash": refuse("has ..", [file("a/../")]),
        "up alone": refuse("has ..", [directory("..")]),
        "up alone, as a file": refuse("has ..", [file("..")]),
        "up alone, as a link": refuse("has ..", [symlink("..", "x")]),
        "up after a dot": refuse("has ..", [file("./../outside/x")]),
        "up after slashes": refuse("has ..", [file(".//..///outside/x")]),
        "up many times": refuse("has ..", [file("../" * 40 + "outside/x")]),
        "up by a prefix": refuse_raw("../outside/x: has ..", header(b"x", prefix=b"../outside")),
        "up by a prefix alone": refuse_raw("has ..", header(b"outside/x", prefix=b"..")),
        "up by a pax path": refuse_raw("../x: has ..", extended((b"path", b"../x")) + header(b"a")),
        "up by a common pax path": refuse_raw("has ..", extended((b"path", b"../x"), flag=b"g") + header(b"a")),
        "up by a GNU name": refuse_raw("../outside/x: has ..", _gnu_name(b"../outside/x\0") + header(b"a")),
        "up by a sparse name": refuse_raw(
            "../x: has ..",
            extended(
                (b"GNU.sparse.name", b"../x"),
                (b"path", b"a"),
                (b"GNU.sparse.map", b"0,0"),
                (b"GNU.sparse.size", b"0"),
            )
            + header(b"a", size=b"0"),
        ),
        "up in a V7 directory": refuse_raw("has ..", header(b"../outside/d/", b"\0", magic=b"")),
        "dots that do not lead up": harmless(
            {"...": "/", ".../..a": "", "..b": "", "c..": ""}, [file(".../..a"), file("..b"), file("c..")]
        ),
        "backslashes are no separators": harmless({"..\\outside\\x": "1"}, [file("..\\outside\\x", b"1")]),
        "other systems' drives": harmless({"C:": "/", "C:/x": ""}, [file("C:/x")]),
        "percent signs are not decoded": harmless({"%2e%2e": "/", "%2e%2e/x": ""}, [file("%2e%2e/x")]),
        "overlong UTF-8 dots are bytes": harmless_raw(
            {"\udcc0\udcae\udcc0\udcae": "/", "\udcc0\udcae\udcc0\udcae/x": ""}, header(b"\xc0\xae\xc0\xae/x")
        ),
        "fullwidth dots are no dots": harmless({"\uff0e\uff0e": "/", "\uff0e\uff0e/x": ""}, [file("\uff0e\uff0e/x")]),
        # Absolute
        "absolute": harmless({"etc": "/", "etc/x": "1"}, [file("/etc/x", b"1")]),
        "absolute directory": harmless({"etc": "/"}, [directory("/etc/", mode=0o777)]),
        "absolute link": refuse(
            "leads out of the image", [symlink("/link", "../../outside"), file("/link/sentinel", b"changed")]
        ),
        "absolute after two slashes": harmless({"etc": "/", "etc/x": ""}, [file("//etc//x")]),
        "absolute by a pax path": harmless_raw(
            {"etc": "/", "etc/x": ""}, extended((b"path", b"/etc/x")) + header(b"a")
        ),
        "absolute by a prefix": harmless_raw({"etc": "/", "etc/x": ""}, header(b"x", prefix=b"/etc")),
        "absolute by a GNU name": harmless_raw({"etc": "/", "etc/x": ""}, _gnu_name(b"/etc/x") + header(b"a")),
        "just a slash": harmless({}, [directory("/")]),
        # Unusable
        "empty": refuse("empty", [file("")]),
        "empty directory name": refuse_raw("empty", header(b"", b"5")),
        "NUL": refuse("unusable name", [file("x", pax={"path": "a\0b"})]),
        "NUL in the parent": refuse("unusable name", [file("x", pax={"path": "a\0/b"})]),
        "NUL cuts a field, as in C": harmless_raw({"a": ""}, header(b"a\0/../x")),
        "long part": refuse("nnn: has a name or link that is too long", [file(LONG)]),
        "long directory": refuse("too long", [directory(LONG)]),
        "long parent": refuse("too long", [file(f"{LONG}/a")]),
        "long path": refuse("too long", [file(DEEP)]),
        "long whiteout": refuse("too long", [file(f".wh.{LONG}")]),
        "name of 900 KiB": refuse_raw("too long", extended((b"path", b"n" * 900_000)) + header(b"a")),
        "name of 900 KiB of control characters": refuse_raw(
            "too long", extended((b"path", b"\x1b[2J" * 200_000)) + header(b"a")
        ),
        "GNU name of 900 KiB": refuse_raw("too long", _gnu_name(b"n" * 900_000) + header(b"a")),
        "257 directories": refuse("is more than 256 directories deep", [file("d/" * 257 + "x")]),
        "2,000 directories": refuse("is more than 256 directories deep", [file("d/" * 2000 + "x")]),
        "2,000 directories of a whiteout": refuse("directories deep", [file("a")], [file("d/" * 2000 + ".wh.x")]),
        "256 directories": harmless(
            {**{"d" + "/d" * depth: "/" for depth in range(256)}, "d/" * 256 + "x": "1"},
            [file("d/" * 256 + "x", b"1")],
        ),
        "slashes for 900 KiB": harmless_raw(
            {"a": "/", "a/b": ""}, extended((b"path", b"a" + b"/" * 900_000 + b"b")) + header(b"a")
        ),
        "the longest name": harmless({"n" * 255: "1"}, [file("n" * 255, b"1")]),
        # Not text
        "not UTF-8": harmless_raw({"\udcff\udcfe": ""}, header(b"\xff\xfe")),
        "not UTF-8, by pax": harmless_raw({"\udcff": ""}, extended((b"path", b"\xff")) + header(b"a")),
        "not UTF-8, and up": refuse_raw("\\xff/../x: has ..", header(b"\xff/../x")),
        "surrogates in UTF-8": harmless_raw({"\udced\udca0\udc80": ""}, header(b"\xed\xa0\x80")),
        "a name that would break the line": refuse("a\\nb\\x1b/../x: has ..", [file("a\nb\x1b/../x")]),
        "a name that would turn the line": refuse("\\u202e/../x: has ..", [file("\u202e/../x")]),
        "a name like an option": harmless({"-rf": "", "--": "/"}, [file("-rf"), directory("--")]),
        "a name with a newline": harmless({"a\nb": ""}, [file("a\nb")]),
    }
)
