"""What the first bytes of files say about running them."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from reconciler.model.facts.program import HEAD, Program, Shape, recognise


def _elf(machine: int, *, wide: bool = True, order: str = "<", loader: bytes = b"") -> bytes:
    """The headers of a program, with one for its loader."""
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    if wide:
        start, size = 64, 56
        head = struct.pack(f"{order}HHIQQQIHHH", 2, machine, 1, 0, start, 0, 0, 64, size, 2)
        place = struct.pack(f"{order}IIQQQQQQ", 3, 4, 300, 0, 0, len(loader), 0, 1)
    else:
        start, size = 52, 32
        head = struct.pack(f"{order}HHIIIIIHHH", 2, machine, 1, 0, start, 0, 0, 52, size, 2)
        place = struct.pack(f"{order}IIIIIIII", 3, 300, 0, 0, len(loader), 0, 4, 1)
    headers = bytes(size) + (place if loader else bytes(size))
    return (ident + head).ljust(start, b"\0") + headers + bytes(300 - start - 2 * size) + loader


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"#!/bin/sh\necho\n", "/bin/sh"),
        (b"#! /usr/bin/env python3\n", "/usr/bin/env"),
        (b"#!\t/bin/sh\t-e\n", "/bin/sh"),
        (b"#!/bin/sh\r\n", "/bin/sh\r"),
        (b"#!/bin/sh", "/bin/sh"),
        (b"#!\n", ""),
        (b"#!/bin/\xff\n", "/bin/\\xff"),
    ],
)
def test_scripts(head: bytes, expected: str) -> None:
    assert recognise(head) == Program(Shape.SCRIPT, expected)


@pytest.mark.parametrize(
    ("head", "architecture"),
    [
        (_elf(62), "x86-64"),
        (_elf(183), "arm64"),
        (_elf(183, order=">"), "arm64-be"),
        (_elf(3, wide=False), "x86"),
        (_elf(40, wide=False), "arm"),
        (_elf(22, order=">"), "s390x"),
        (_elf(247), None),
    ],
)
def test_machines(head: bytes, architecture: str | None) -> None:
    assert recognise(head) == Program(Shape.ELF, None, architecture)


@pytest.mark.parametrize(("wide", "order"), [(True, "<"), (True, ">"), (False, "<"), (False, ">")])
def test_loaders(*, wide: bool, order: str) -> None:
    found = recognise(_elf(62, wide=wide, order=order, loader=b"/lib/ld.so\0"))
    assert found
    assert found.interpreter == "/lib/ld.so"


def test_a_real_program() -> None:
    with Path("/bin/sh").resolve().open("rb") as program:
        found = recognise(program.read(HEAD))
    assert found
    assert found.architecture == {"x86_64": "x86-64", "aarch64": "arm64"}[os.uname().machine]
    assert found.interpreter
    assert Path(found.interpreter).exists()


@pytest.mark.parametrize("head", [b"", b"text", b"\x7fELF", b"\x7fELF\2\1\1" + bytes(9), b"\x7fELF" + b"\xff" * 60])
def test_no_programs(head: bytes) -> None:
    assert recognise(head) is None


def test_hostile_headers_end() -> None:
    lying = bytearray(_elf(62, loader=b"/lib/ld.so\0"))
    lying[54:58] = struct.pack("<HH", 0, 0xFFFF)  # no size, and many of them
    assert recognise(bytes(lying)) == Program(Shape.ELF, None, "x86-64")
    lying[32:40] = b"\xff" * 8
    assert recognise(bytes(lying)) == Program(Shape.ELF, None, "x86-64")
