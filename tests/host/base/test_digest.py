"""Digests of files, with holes and without."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from reconciler.host.base.digest import file_digest

MIB = 1 << 20


@pytest.mark.parametrize(
    ("parts", "size"),
    [
        ({}, 0),
        ({0: b"x"}, 1),
        ({}, 1),
        ({}, 3 * MIB + 5),
        ({0: b"head"}, 3 * MIB),
        ({3 * MIB - 4: b"tail"}, 3 * MIB),
        ({MIB + 7: b"x" * MIB, 5 * MIB: b"y" * (2 * MIB + 3)}, 9 * MIB + 1),
    ],
    ids=["empty", "byte", "hole", "long hole", "head", "tail", "islands"],
)
def test_a_hole_counts_as_zeros(tmp_path: Path, parts: dict[int, bytes], size: int) -> None:
    file = tmp_path / "file"
    with file.open("wb") as out:
        out.truncate(size)
        for offset, data in parts.items():
            out.seek(offset)
            out.write(data)
    assert file_digest(file) == f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}"


def test_holes_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    with file.open("wb") as out:
        out.truncate(100 * MIB)
        out.seek(50 * MIB)
        out.write(b"x")
    read, real = 0, os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        nonlocal read
        found = real(descriptor, size, offset)
        read += len(found)
        return found

    monkeypatch.setattr(os, "pread", counted)
    file_digest(file)
    assert 0 < read < MIB


@pytest.mark.parametrize("path", ["/proc/version", "/proc/self/pagemap", "/sys/devices/system/cpu/online"])
def test_what_the_kernel_makes_up_is_not_read(path: str) -> None:
    with pytest.raises(OSError, match=r"its content is made up by the kernel \((proc|sysfs)\)"):
        file_digest(Path(path))
