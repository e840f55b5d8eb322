"""A file system that nobody has written to yet, for each measurement anew.

On a file system in use a run would pay for others: ext4 passes over inodes that were freed in the last minutes, its
journal is shared by all who write, and syncfs(2) waits for everybody's data.
"""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SIZE: Final = 16 << 30  # bytes; the file behind it is sparse
# The kernel must not initialise tables in the background while something is being measured.
_FORMAT: Final = ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0")


@contextmanager
def fresh_disk(directory: Path) -> Iterator[Path]:
    """A mounted, empty ext4 on a loop device that does without the page cache of the file behind it."""
    image, mounted = directory / "disk.img", directory / "disk"
    mounted.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(_SIZE)
    subprocess.run([*_FORMAT, str(image)], check=True, stderr=subprocess.DEVNULL)
    attach = ["losetup", "--direct-io=on", "--find", "--show", str(image)]
    device = subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip()
    try:
        subprocess.run(["mount", device, str(mounted)], check=True)
        subprocess.run(["sync", "--file-system", str(mounted)], check=True)
        try:
            yield mounted
        finally:
            subprocess.run(["umount", str(mounted)], check=True)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
        image.unlink()
