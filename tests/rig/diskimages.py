"""Image files made by the real tools from a tree of files, and disk images with every field at hand."""

from __future__ import annotations

import os
import struct
import subprocess
import uuid
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_TYPES: Final = {
    "x86_64": (
        "4f68bce3-e8cd-4db1-96e7-fbcaf984b709",
        "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5",
        "41092b05-9fc8-4523-994f-2def0408b176",
        "8484680c-9521-48c6-9c11-b0720656f69e",
        "77ff5f63-e7b6-4633-acf4-1565b864c0e6",
    ),
    "aarch64": (
        "b921b045-1df0-41c3-af44-4c6f280d3fae",
        "df3300ce-d69f-4c92-978c-9bfb0f38d820",
        "6db69de6-29f4-4758-a7a5-962190f00ce3",
        "b0e01050-ee5f-4390-949a-9101b17104e9",
        "6e11a4e7-fbca-4ded-b9e9-e1a512bb664e",
    ),
}
ROOT, ROOT_VERITY, ROOT_VERITY_SIG, USR, USR_VERITY = _TYPES[os.uname().machine]
FOREIGN_ROOT: Final = "72ec70a6-cf74-40e6-bd49-4bda08e8f224"  # for riscv64
HOME: Final = "933ac7e1-2eb4-4f13-b844-0e14e2aef915"
GENERIC: Final = "0fc63daf-8483-4772-8e79-3d69d8477de4"
MICROSOFT: Final = "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7"
RELEASES: Final = "usr/lib/extension-release.d"


def make_tree(directory: Path, files: Mapping[str, str | None]) -> Path:
    """Files by path; `-> x` as the content makes a link to x, None an empty directory."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.mkdir()
        elif content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
        else:
            path.write_text(content)
            path.chmod(0o755 if "/bin/" in name else 0o644)
    return directory


def extension_tree(directory: Path, name: str, files: Mapping[str, str | None] | None = None) -> Path:
    """An extension with a command of its own name, a unit, and what else is wanted."""
    own: dict[str, str | None] = {
        f"usr/bin/{name}": f"#!/bin/sh\necho {name}\n",
        f"usr/lib/systemd/system/{name}.service": "",
        f"{RELEASES}/extension-release.{name}": "ID=_any\n",
    }
    return make_tree(directory, {**own, **(files or {})})


def squashfs(tree: Path, target: Path, *options: str) -> Path:
    """A squashfs image of a tree."""
    _run("mksquashfs", str(tree), str(target), "-quiet", "-no-progress", "-all-root", *options)
    return target


def erofs(tree: Path, target: Path, *options: str) -> Path:
    """An erofs image of a tree."""
    _run("mkfs.erofs", *options, str(target), str(tree))
    return target


def ext4(tree: Path, target: Path, *options: str) -> Path:
    """An ext4 image of a tree."""
    with target.open("wb") as file:
        file.truncate(2 << 20)
    _run("mkfs.ext4", "-q", "-d", str(tree), *options, str(target))
    return target


def btrfs(tree: Path, target: Path, *options: str) -> Path:
    """A btrfs image of a tree."""
    with target.open("wb") as file:
        file.truncate(120 << 20)
    _run("mkfs.btrfs", "-q", "--shrink", "--rootdir", str(tree), *options, str(target))
    return target


MAKERS: Final[dict[str, Callable[..., Path]]] = {
    "squashfs": squashfs,
    "erofs": erofs,
    "ext4": ext4,
    "btrfs": btrfs,
}


@dataclass(frozen=True, slots=True)
class Part:
    """A partition to write."""

    type: str
    content: bytes
    flags: int = 0
    identity: str = "00000000-0000-4000-8000-000000000001"


@dataclass(slots=True)
class Layout:
    """A partition table before it is written, so that a test can lie in any field; its checksums are right."""

    sector: int
    sectors: int  # of the whole file
    spans: list[tuple[int, int]]  # first and last sector of each partition
    fields: dict[str, int] = field(default_factory=dict)  # of the header, by the names in `_header`


def disk(parts: Sequence[Part], *, sector: int = 512, lie: Callable[[Layout], None] | None = None) -> bytes:
    """A disk image with a GPT; `lie` changes the layout before headers are written, not where contents go."""
    per_mib = (1 << 20) // sector
    spans: list[tuple[int, int]] = []
    place = per_mib
    for part in parts:
        length = -(-len(part.content) // sector)
        spans.append((place, place + length - 1))
        place = -(-(place + length) // per_mib) * per_mib
    layout = Layout(sector, place + per_mib, list(spans))
    image = bytearray(layout.sectors * sector)
    for (first, _), part in zip(spans, parts, strict=True):
        image[first * sector : first * sector + len(part.content)] = part.content
    if lie:
        lie(layout)
    _write_tables(image, layout, parts)
    return bytes(image)


def _write_tables(image: bytearray, layout: Layout, parts: Sequence[Part]) -> None:
    sector, last = layout.sector, len(image) // layout.sector - 1
    entries = bytearray(128 * 128)
    for number, (part, (first, end)) in enumerate(zip(parts, layout.spans, strict=True)):
        guids = uuid.UUID(part.type).bytes_le + uuid.UUID(part.identity).bytes_le
        entries[number * 128 : number * 128 + 56] = guids + struct.pack("<QQQ", first, end, part.flags)
    table = len(entries) // sector
    image[446:512] = struct.pack("<B3xB3xII", 0, 0xEE, 1, last) + bytes(48) + b"\x55\xaa"
    for own, other, at in ((1, last, 2), (last, 1, last - table)):
        image[at * sector : at * sector + len(entries)] = entries
        image[own * sector : own * sector + 92] = _header(bytes(entries), layout, (own, other, at), last - table - 1)


def _header(entries: bytes, layout: Layout, places: tuple[int, int, int], last_usable: int) -> bytes:
    own, other, at = places
    fields = {
        "size": 92,
        "own": own,
        "other": other,
        "first_usable": 2 + len(entries) // layout.sector,
        "last_usable": last_usable,
        "at": at,
        "count": len(entries) // 128,
        "entry_size": 128,
        **layout.fields,
    }
    head = struct.pack("<8sII", b"EFI PART", 1 << 16, fields["size"])
    usable = struct.pack("<QQQQ", *(fields[name] for name in ("own", "other", "first_usable", "last_usable")))
    rest = struct.pack("<QIII", fields["at"], fields["count"], fields["entry_size"], zlib.crc32(entries))
    disk_guid = uuid.UUID(int=7).bytes_le
    crc = zlib.crc32((head + bytes(8) + usable + disk_guid + rest)[: fields["size"]])
    return head + struct.pack("<I4x", crc) + usable + disk_guid + rest


def sfdisk(target: Path, partitions: Sequence[tuple[str, bytes]]) -> Path:
    """A disk image as sfdisk makes it: types and contents of its partitions."""
    script = ["label: gpt"]
    start = 2048
    starts = []
    for kind, content in partitions:
        length = -(-len(content) // (1 << 20)) * 2048
        script.append(f"start={start}, size={length}, type={kind}")
        starts.append(start)
        start += length
    with target.open("wb") as file:
        file.truncate((start + 2048) * 512)
    _run("sfdisk", "--quiet", str(target), text="\n".join(script))
    with target.open("r+b") as file:
        for place, (_, content) in zip(starts, partitions, strict=True):
            file.seek(place * 512)
            file.write(content)
    return target


def _run(*command: str, text: str | None = None) -> None:
    done = subprocess.run(command, input=text or "", capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise AssertionError(f"{command}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
