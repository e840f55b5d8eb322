"""Makes an ext4 of a directory with mke2fs and debugfs (e2fsprogs). The same directory gives the same file."""

from __future__ import annotations

import os
import stat
from itertools import islice
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, NotInstalled
from reconciler.host.base.command import available, run
from reconciler.host.base.walk import walk

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT: Final = 3600.0  # seconds
_BLOCK: Final = 4096
_INODE: Final = 256
_RESERVED: Final = 11  # inodes that every ext4 has, lost+found the last of them
_UUID: Final = "6c697665-6c61-4965-b261-6e6572657874"  # any; and so the seed of hashes
# Named one by one: the defaults are those of the machine. Nothing is written to it, so it needs no journal.
_FEATURES: Final = (
    "none,ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize"
    ",metadata_csum"
)
# Of each inode: what mke2fs takes from the directory although it depends on when that was made.
_TIMES: Final = ("atime", "ctime", "crtime")
_HINT: Final = "look at the space there, or build another --format"


def write_ext4(target: Path, tree: Path, scratch: Path) -> None:
    """Make `target`, which must not exist, of a directory that nobody else changes; after an error it is garbage.

    Where this process is not root, what belongs to it belongs to root in the file.
    """
    for program in ("mke2fs", "debugfs"):
        if not available(program):
            raise NotInstalled(
                f"the program {program} is not on this machine", "install e2fsprogs, or choose another --format"
            )
    inodes, blocks = _needs(tree)
    complaint = _make(target, tree, inodes, blocks) and _make(target, tree, inodes, 2 * blocks)
    if complaint:
        raise Failed(f"mke2fs failed: {complaint}", _HINT)
    _normalize(target, inodes, scratch)


def _needs(tree: Path) -> tuple[int, int]:
    """Inodes, and blocks with some room: what is left over in the end is a hole in the file."""
    seen: set[int] = set()
    blocks = 0
    for _, status in islice(walk(os.fsencode(tree)), 1, None):
        if status.st_ino not in seen:
            seen.add(status.st_ino)
            blocks += 1 + (-(-status.st_size // _BLOCK) if stat.S_ISREG(status.st_mode) else 1)
    inodes = _RESERVED + len(seen)
    return inodes, blocks + blocks // 16 + inodes * _INODE // _BLOCK + 256


def _make(target: Path, tree: Path, inodes: int, blocks: int) -> str | None:
    """What mke2fs complains of, if it does."""
    target.unlink(missing_ok=True)
    with target.open("xb") as file:
        file.truncate(blocks * _BLOCK)
    done = run(
        "mke2fs",
        *("-q", "-F", "-t", "ext4", "-b", str(_BLOCK), "-I", str(_INODE), "-m", "0", "-N", str(inodes)),
        *("-O", _FEATURES, "-U", _UUID, "-E", f"hash_seed={_UUID},root_owner=0:0,nodiscard,lazy_itable_init=0"),
        *("-d", str(tree), str(target)),
        timeout=_TIMEOUT,
        env={"E2FSPROGS_FAKE_TIME": "1", "SOURCE_DATE_EPOCH": "1", "MKE2FS_CONFIG": os.devnull},
    )
    return done.complaint if done.status else None


def _normalize(target: Path, inodes: int, scratch: Path) -> None:
    """Set what does not come from the content."""
    fields = [(time, "@1") for time in _TIMES] + [(f"{time}_extra", "0") for time in (*_TIMES, "mtime")]
    if os.geteuid() != 0:
        fields += [("uid", "0"), ("gid", "0")]
    numbers = [2, *range(_RESERVED, inodes + 1)]
    commands = scratch / "debugfs"
    commands.write_text("".join(f"sif <{it}> {field} {value}\n" for it in numbers for field, value in fields))
    environment = {"E2FSPROGS_FAKE_TIME": "1"}
    done = run("debugfs", "-w", "-f", str(commands), str(target), timeout=_TIMEOUT, env=environment, most=1 << 16)
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("debugfs ")]
    if done.status or complaints:
        raise Failed(f"debugfs failed: {complaints[0] if complaints else done.complaint}", _HINT)
