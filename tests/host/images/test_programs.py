"""Programs by their headers: made here word by word, real, damaged and hostile ones."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.host.images.programs import read_elf, recognise
from reconciler.model.facts.program import HEAD, Program, Shape


def program(  # noqa: PLR0913 - as many things decide
    *,
    machine: int = 62,
    wide: bool = True,
    little: bool = True,
    needed: tuple[str, ...] = (),
    interpreter: str | None = None,
    kind: int = 3,
) -> bytes:
    """An ELF file of headers alone, loaded at 0x10000."""
    order, word = "<" if little else ">", "Q" if wide else "I"
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in needed)
    start, step = (64, 56) if wide else (52, 32)
    text = (interpreter or "").encode() + b"\0"
    text_at = start + 3 * step
    strings_at = text_at + len(text)
    dynamic_at = strings_at + len(strings)
    entries = [(5, 0x10000 + strings_at), (10, len(strings))]
    entries += [(1, strings.index(name.encode() + b"\0")) for name in needed]
    dynamic = b"".join(struct.pack(order + word * 2, *entry) for entry in [*entries, (0, 0), (1, 1)])
    size = dynamic_at + len(dynamic)
    segments = [(1, 0, 0x10000, size)]
    segments += [(2, dynamic_at, 0x10000 + dynamic_at, len(dynamic))] if needed else []
    segments += [(3, text_at, 0x10000 + text_at, len(text))] if interpreter else []
    table = b"".join(
        struct.pack(order + "IIQQQQQQ", kind, 0, at, place, place, length, length, 1)
        if wide
        else struct.pack(order + "IIIIIIII", kind, at, place, place, length, length, 0, 1)
        for kind, at, place, length in segments
    )
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if little else 2, 1]) + bytes(9)
    head = ident + struct.pack(
        order + "HHI" + word * 3 + "IHHHHHH", kind, machine, 1, 0, start, 0, 0, start, step, len(segments), 0, 0, 0
    )
    return (head + table).ljust(text_at, b"\0") + text + strings + dynamic


def _elf(architecture: str | None, needed: tuple[str, ...] = (), interpreter: str | None = None) -> Program:
    return Program(Shape.ELF, interpreter, architecture, needed)


def _read(content: bytes) -> Program | None:
    return read_elf(lambda offset, size: content[offset : offset + size], len(content))


@pytest.mark.parametrize(
    ("machine", "wide", "little", "expected"),
    [
        (62, True, True, "x86-64"),
        (3, False, True, "x86"),
        (183, True, True, "arm64"),
        (40, False, True, "arm"),
        (21, True, False, "ppc64"),
        (22, True, False, "s390x"),
        (9999, True, True, None),
        (62, False, True, None),
    ],
)
def test_machines(machine: int, expected: str | None, *, wide: bool, little: bool) -> None:
    found = _read(program(machine=machine, wide=wide, little=little, needed=("libc.so.6", "libm.so.6")))
    assert found == _elf(expected, ("libc.so.6", "libm.so.6"))


def test_a_program_has_a_loader() -> None:
    found = _read(program(interpreter="/lib64/ld-linux-x86-64.so.2", needed=("libc.so.6",)))
    assert found == _elf("x86-64", ("libc.so.6",), "/lib64/ld-linux-x86-64.so.2")


def test_a_static_program_needs_nothing() -> None:
    assert _read(program(kind=2)) == _elf("x86-64")


def test_a_module_is_for_a_machine() -> None:
    assert _read(program(kind=1)) == _elf("x86-64")


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fEL", b"\x7fELG" + bytes(90)])
def test_others_are_none(content: bytes) -> None:
    assert _read(content) is None


@pytest.mark.parametrize("content", [b"\x7fELF", b"\x7fELF" + bytes(10), b"\x7fELF\2\1" + b"\xff" * 90])
def test_one_without_a_header_is_damaged(content: bytes) -> None:
    assert _read(content) == replace(_elf(None), damaged=True)
    assert recognise(content) in {None, _elf(None)}


@pytest.mark.parametrize("needed", [(), ("libc.so.6",)], ids=["static", "dynamic"])
def test_one_that_is_cut_off_anywhere_is_damaged(needed: tuple[str, ...]) -> None:
    content = program(interpreter="/lib/ld.so", needed=needed)
    assert all(found and found.damaged for found in map(_read, (content[:end] for end in range(4, len(content)))))
    assert _read(content) == _elf("x86-64", needed, "/lib/ld.so")
    assert _read(content + b"more") == _elf("x86-64", needed, "/lib/ld.so")


def test_a_program_without_segments_is_damaged_and_an_object_is_not() -> None:
    for kind, damaged in ((1, False), (2, True), (3, True)):
        content = bytearray(program(kind=kind))
        content[56:58] = bytes(2)
        found = _read(bytes(content))
        assert found
        assert found.damaged == damaged


@given(st.data())
def test_damaged_ones_do_no_harm(data: st.DataObject) -> None:
    content = bytearray(program(interpreter="/lib/ld.so", needed=("libc.so.6", "libz.so.1")))
    for at, value in data.draw(
        st.lists(st.tuples(st.integers(4, len(content) - 1), st.integers(0, 255)), max_size=20)
    ):
        content[at] = value
    found = _read(bytes(content[: data.draw(st.integers(0, len(content)))]))
    assert found is None or len(found.needed) <= len(content)


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


def test_a_loader_is_among_the_first_bytes_and_libraries_are_not() -> None:
    content = program(interpreter="/lib/ld.so", needed=("libc.so.6",))
    assert recognise(content[:250]) == _elf("x86-64", (), "/lib/ld.so")
    assert recognise(content[:230]) == _elf("x86-64")


def test_a_real_program() -> None:
    content = Path("/bin/sh").resolve().read_bytes()
    found, first = _read(content), recognise(content[:HEAD])
    assert found
    assert found.architecture == {"x86_64": "x86-64", "aarch64": "arm64"}[os.uname().machine]
    assert found.interpreter
    assert Path(found.interpreter).exists()
    assert "libc.so.6" in found.needed
    assert first == replace(found, needed=())


@pytest.mark.parametrize("count", [0x400, 0xFFFF], ids=["many", "as many as a section says"])
@pytest.mark.parametrize("size", [0, 1, 56])
def test_headers_without_end_end(count: int, size: int) -> None:
    """Of no size and many of them; a table and a text that nothing ends; places behind the file."""
    lying = bytearray(program(interpreter="/lib/ld.so", needed=("libc.so.6",)))
    lying[54:58] = struct.pack("<HH", size, count)
    found = _read(bytes(lying))
    assert found
    assert found.damaged
    lying[32:40] = b"\xff" * 8
    assert _read(bytes(lying)) == replace(_elf("x86-64"), damaged=True)


@pytest.mark.parametrize("byte", [b"\1", b"x"], ids=["libraries", "text"])
def test_a_file_that_says_nothing_but_more_is_given_up(byte: bytes) -> None:
    """Gigabytes of it, of which a bounded part is read."""
    head = program(interpreter="/lib/ld.so", needed=("libc.so.6",))[: 64 + 3 * 56]
    taken = []

    def read(offset: int, size: int) -> bytes:
        taken.append(size)
        return head[offset : offset + size].ljust(size, byte) if offset < len(head) else byte * size

    found = read_elf(read, 1 << 40)
    assert found
    assert found.architecture == "x86-64"
    assert found.damaged
    assert sum(taken) < 4 << 20
