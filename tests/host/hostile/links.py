"""Symbolic and hard links that lead out, through earlier members, lower layers and each other."""

from __future__ import annotations

from typing import Final

from tests.host.hostile.cases import harmless, harmless_raw, named, refuse, refuse_raw
from tests.host.tars import directory, extended, file, hard_link, header, symlink

_CHAIN: Final = [symlink(f"l{number}", f"l{number + 1}") for number in range(50)]

CASES: Final = named(
    {
        # Symbolic links as parents
        "parent out": refuse(
            "s/x: its parent s is a symbolic link that leads out", [symlink("s", "../outside"), file("s/x")]
        ),
        "parent out, across layers": refuse(
            "s/x: its parent s is a symbolic link that leads out", [symlink("s", "../../../outside")], [file("s/x")]
        ),
        "parent out, in two steps": refuse(
            "leads out of the image",
            [directory("d"), symlink("d/up", ".."), symlink("s", "d/up/../outside")],
            [file("s/x")],
        ),
        "parent out, each layer a step": refuse(
            "leads out of the image",
            [directory("d/e")],
            [symlink("d/e/up", "../..")],
            [file("d/e/up/s/x")],
            [symlink("d/e/up/s", "../..")],
            [file("s/x")],
        ),
        "parent out, absolute": refuse("leads out of the image", [symlink("s", "/../outside")], [file("s/x")]),
        "parent out, absolute by itself": refuse(
            "leads to no directory", [symlink("s", "{outside}"), file("s/sentinel", b"x")]
        ),
        "parent out, directory member": refuse("leads to no dir", [symlink("s", "{outside}"), directory("s/inner")]),
        "parent out, link member": refuse("leads out of", [symlink("s", ".."), symlink("s/x", "y")]),
        "parent out, after dots": refuse("leads out of", [symlink("s", "./.././."), file("s/x")]),
        "parent out, in the middle": refuse("leads out of", [symlink("d/s", "../.."), file("d/s/outside/x")]),
        "parent out, through a directory that is there": refuse(
            "leads out of", [directory("d"), symlink("s", "d/../../outside"), file("s/x")]
        ),
        "parent out, link made by a hard link": refuse(
            "leads out of", [symlink("s", ".."), hard_link("t", "s"), file("t/x")]
        ),
        "parent out, link that replaced a directory": refuse(
            "leads out of", [file("d/a"), symlink("d", ".."), file("d/x")]
        ),
        "parent out, link that replaced a lower directory": refuse(
            "leads out of", [file("d/e/a")], [symlink("d", "../outside"), file("d/e/x")]
        ),
        "parent out, link that was removed and made again": refuse(
            "leads out of", [directory("d")], [file(".wh.d")], [symlink("d", ".."), file("d/x")]
        ),
        "parent out, directory known before": refuse(
            "leads out of", [file("d/a"), file("d/b"), symlink("d", "../outside"), file("d/a")]
        ),
        "parent to nothing": refuse("leads to no directory", [symlink("s", "nothing"), file("s/x")]),
        "parent to a file": refuse("leads to no directory", [file("f"), symlink("s", "f"), file("s/x")]),
        "parent through a file": refuse("leads to no directory", [file("f"), symlink("s", "f/.."), file("s/x")]),
        "parent through nothing": refuse("leads to no directory", [symlink("s", "nothing/.."), file("s/x")]),
        "parent to itself": refuse("leads to no directory", [symlink("s", "s"), file("s/x")]),
        "parent to itself, from within": refuse("leads to no dir", [symlink("d/s", "../d/s/a"), file("d/s/x")]),
        "parents in a circle": refuse(
            "leads to no directory", [symlink("a", "b"), symlink("b", "a"), directory("a/x")]
        ),
        "parents in a chain too long": refuse("leads to no directory", [*_CHAIN, directory("l50"), file("l0/x")]),
        "parent's target is 4 KiB": refuse("leads out of", [symlink("s", "../" * 1300 + "outside"), file("s/x")]),
        "parent's target goes round and round": refuse(
            "leads to no directory", [directory("a"), symlink("s", "a/../" * 800 + "a"), file("s/x")]
        ),
        "parents go round and round": refuse(
            "leads to no directory", [directory("a"), symlink("a/s", "../a/../a"), file("a/" + "s/" * 200 + "x")]
        ),
        "parents deeper than deep, through links": refuse(
            "is more than 256 directories deep",
            [directory("/".join("d" * 200)), symlink("s", "/".join("d" * 200)), file("s/" + "e/" * 100 + "x")],
        ),
        "parent is a file": refuse("d/a: its parent d is a file of the same layer", [file("d"), file("d/a")]),
        "parent is a hard link": refuse(
            "d/a: its parent d is a file of the same layer", [file("f"), hard_link("d", "f"), file("d/a")]
        ),
        "what /proc would offer": refuse("leads to no directory", [symlink("s", "/proc/self/root"), file("s/x")]),
        "what /proc would offer, by number": refuse("leads to no dir", [symlink("s", "/proc/1/cwd"), file("s/x")]),
        "an absolute link into the image": harmless(
            {"etc": "/", "etc/x": "1", "s": "-> /etc"}, [directory("etc"), symlink("s", "/etc"), file("s/x", b"1")]
        ),
        "links out that nobody follows": harmless(
            {"a": "-> ../../../etc/shadow", "b": "-> /etc/shadow"},
            [symlink("a", "../../../etc/shadow"), symlink("b", "/etc/shadow")],
        ),
        "a file replaces a link out, and does not go through it": harmless(
            {"s": "1"}, [symlink("s", "../outside/sentinel")], [file("s", b"1")]
        ),
        "a file of the same layer replaces a link out": harmless(
            {"s": "1"}, [symlink("s", "../../outside/sentinel"), file("s", b"1")]
        ),
        "a directory replaces a link out": harmless(
            {"s": "/", "s/x": ""}, [symlink("s", "../outside")], [directory("s"), file("s/x")]
        ),
        "a directory that was a link, named with a slash": harmless(
            {"s": "/"}, [symlink("s", "../outside"), directory("s/", mode=0o777)]
        ),
        "a link with a slash at its end": harmless({"s": "-> ../outside"}, [symlink("s/", "../outside")]),
        # Symbolic links themselves
        "empty link": refuse("s: is a symbolic link with an unusable target", [symlink("s", "")]),
        "NUL in a link": refuse("unusable target", [symlink("s", "x", pax={"linkpath": "a\0b"})]),
        "long link": refuse("s: has a name or link that is too long", [symlink("s", "t" * 5000)]),
        "link of 900 KiB": refuse("s: has a name or link that is too long", [symlink("s", "t" * 900_000)]),
        "link as root": refuse("a symbolic link in place of", [symlink(".", "{outside}")]),
        "link as root, in a later layer": refuse(
            "a symbolic link in place of", [file("a")], [symlink("./", "../outside")]
        ),
        "file as root": refuse("a file in place of the image's root", [file("./")]),
        "hard link as root": refuse("a hard link in place of", [file("a"), hard_link("./.", "a")]),
        "a link that is not UTF-8": harmless_raw({"s": "-> \ufffd"}, header(b"s", b"2", link=b"\xff")),
        # Hard links
        "hard link out": refuse(
            "h: is a hard link to ../outside/sentinel: has ..", [hard_link("h", "../outside/sentinel")]
        ),
        "hard link out, from within": refuse(
            "has ..", [directory("d"), hard_link("d/h", "d/../../outside/sentinel")]
        ),
        "hard link, absolute": refuse("which is not in the image", [hard_link("h", "{outside}/sentinel")]),
        "hard link out by pax": refuse_raw(
            "h: is a hard link to ../outside/sentinel: has ..",
            extended((b"linkpath", b"../outside/sentinel")) + header(b"h", b"1", link=b"a"),
        ),
        "hard link to nothing": refuse("which is not in the image, or not yet", [hard_link("h", "x/y")]),
        "hard link to no name": refuse("h: is a hard link to", [hard_link("h", "")]),
        "hard link to NUL": refuse_raw(
            "h: is a hard link to", extended((b"linkpath", b"a\0b")) + header(b"h", b"1", link=b"a")
        ),
        "hard link to a long name": refuse_raw(
            "too long", extended((b"linkpath", b"n" * 300)) + header(b"h", b"1", link=b"a")
        ),
        "hard link to a later file": refuse("or not yet", [hard_link("h", "a"), file("a")]),
        "hard link below a file": refuse("not in the image", [file("a"), hard_link("h", "a/b")]),
        "hard link to a directory": refuse("which is a directory", [directory("d"), hard_link("h", "d")]),
        "hard link to the root": refuse("which is a directory", [hard_link("h", ".")]),
        "hard link to the root, by a slash": refuse("h: is a hard link to", [hard_link("h", "/")]),
        "hard link to itself": refuse("which it replaces", [file("a"), hard_link("a", "./a")]),
        "hard link over its target": refuse("which it replaces", [file("d/a"), hard_link("d", "d/a")]),
        "hard link over the directory with its target, across layers": refuse(
            "which it replaces", [file("d/e/a")], [hard_link("d", "d/e/a")]
        ),
        "hard link through a link out": refuse(
            "leads out of", [symlink("s", "../outside"), hard_link("h", "s/sentinel")]
        ),
        "hard link through a link out, across layers": refuse(
            "leads out of", [symlink("s", "../../../outside")], [hard_link("h", "s/sentinel")]
        ),
        "hard link through an absolute link": refuse(
            "no directory", [symlink("s", "{outside}"), hard_link("h", "s/sentinel")]
        ),
        "hard link into a link out": refuse("leads out of", [symlink("s", ".."), file("a"), hard_link("s/h", "a")]),
        "hard link to a link out, then written through": refuse(
            "leads out of", [symlink("s", "../outside")], [hard_link("t", "s")], [file("t/sentinel", b"x")]
        ),
        "a hard link to a link out is a link out": harmless(
            {"s": "-> ../outside/sentinel", "h": "-> ../outside/sentinel"},
            [symlink("s", "../outside/sentinel"), hard_link("h", "s")],
        ),
        "replacing a hard link leaves the other name": harmless(
            {"a": "1", "h": "2"}, [file("a", b"1"), hard_link("h", "a")], [file("h", b"2")]
        ),
        "content of a hard link is no content": harmless_raw(
            {"a": "", "h": ""}, header(b"a"), header(b"h", b"1", link=b"a", size=b"777")
        ),
        # Order
        "a directory in place of a lower link that was gone through": refuse(
            "d/: replaces a symbolic link through which its own layer has written",
            [directory("real"), symlink("d", "real")],
            [file("d/a"), directory("d")],
        ),
        "a link in place of a lower link that was gone through": refuse(
            "d: replaces a symbolic link through which",
            [directory("real"), symlink("d", "real")],
            [file("d/a"), symlink("d", "..")],
        ),
        "the same, directory first": harmless(
            {"real": "/", "d": "/", "d/a": ""},
            [directory("real"), symlink("d", "real")],
            [directory("d"), file("d/a")],
        ),
    }
)
