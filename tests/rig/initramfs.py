"""An initial RAM disk that has one task: load the driver of the root disk, and go over to it."""

from __future__ import annotations

import lzma
import re
import stat
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_PROGRAMS: Final = ("/usr/bin/dash", "/usr/sbin/insmod", "/usr/bin/mount", "/usr/sbin/switch_root")
_INIT: Final = """\
#!/usr/bin/dash
for module in /modules/*; do /usr/sbin/insmod "$module"; done
/usr/bin/mount -t devtmpfs dev /dev
/usr/bin/mount -o ro -t ext4 /dev/vda /new
exec /usr/sbin/switch_root /new "$1"
"""


def write_initramfs(root: Path, image: Path, modules: Iterable[str], program: str) -> None:
    """Make it of a Debian's own programs and modules.

    Args:
        root: the tree of the Debian that is on the root disk, /dev/vda.
        image: the file to write, a cpio archive in the `newc` format, which the kernel asks for.
        modules: names of files that end in `.ko.xz`, in the order in which they are loaded.
        program: what the root disk's first process is.
    """
    members: dict[str, tuple[int, bytes]] = {"init": (0o755, _INIT.replace("$1", program).encode())}
    for file in {*_PROGRAMS, *_libraries(root)}:
        members[file.removeprefix("/")] = (0o755, (root / file.removeprefix("/")).read_bytes())
    for number, name in enumerate(modules):
        (found,) = (root / "usr/lib/modules").rglob(f"{name}.ko.xz")
        members[f"modules/{number}-{name}.ko"] = (0o644, lzma.decompress(found.read_bytes()))
    with image.open("wb") as out:
        for piece in _archive(members):
            out.write(piece)


def _libraries(root: Path) -> set[str]:
    """What the programs are linked with, where the dynamic linker says it is."""
    told = subprocess.run(["chroot", str(root), "ldd", *_PROGRAMS], capture_output=True, text=True, check=True)
    return set(re.findall(r"(/\S+) \(0x", told.stdout))


def _archive(members: dict[str, tuple[int, bytes]]) -> Iterator[bytes]:
    directories = {str(parent) for name in (*members, "dev/x", "new/x") for parent in _parents(name)}
    inode = 0
    for name in sorted(directories):
        inode += 1
        yield _member(inode, name, stat.S_IFDIR | 0o755, b"")
    for name, (mode, content) in members.items():
        inode += 1
        yield _member(inode, name, stat.S_IFREG | mode, content)
    yield _member(0, "TRAILER!!!", 0, b"")


def _parents(name: str) -> Iterator[str]:
    *parents, _ = name.split("/")
    for count in range(1, len(parents) + 1):
        yield "/".join(parents[:count])


def _member(inode: int, name: str, mode: int, content: bytes) -> bytes:
    fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
    return _padded(header) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
