"""Makes an erofs from a tar archive with mkfs.erofs (erofs-utils)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, NotInstalled
from reconciler.host.base.command import available, feed, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PROGRAM: Final = "mkfs.erofs"
_SINCE: Final = (1, 7)  # --tar came with it
_VERSION: Final = re.compile(r"\b(\d+)\.(\d+)")
_TIMEOUT: Final = 3600.0  # seconds
_UUID: Final = "6c697665-6c61-4965-b261-6e6572667300"  # any; the same archive is to give the same file


def write_erofs(target: Path, write: Callable[[int], None], scratch: Path) -> None:
    """Make `target`, which must not exist, from the archive that `write` writes to a descriptor.

    After an error it is garbage. mkfs.erofs keeps the archive in `scratch` meanwhile.
    """
    _require()
    done = feed(
        _PROGRAM,
        "--quiet",
        "--tar=f",
        f"-U{_UUID}",
        "-zlz4",
        str(target),
        write=write,
        timeout=_TIMEOUT,
        # The time of making; files that are newer would get it, too, so it is the last that a file may have.
        env={"SOURCE_DATE_EPOCH": str((1 << 32) - 1), "TMPDIR": str(scratch)},
    )
    if done.status != 0:
        raise Failed(f"{_PROGRAM} failed: {done.complaint}", "look at the space on that file system")


def _require() -> None:
    wanted = "erofs-utils 1.7 or newer is needed to make an erofs file"
    hint = "install it, or choose the format squashfs"
    if not available(_PROGRAM):
        raise NotInstalled(f"{wanted}; {_PROGRAM} is not on this machine", hint)
    done = run(_PROGRAM, "-V", timeout=30)
    match = _VERSION.search(done.stdout.decode(errors="replace") + done.stderr)
    if match is None or (int(match[1]), int(match[2])) < _SINCE:
        raise NotInstalled(f"{wanted}; this machine has {match[0] if match else 'an unknown version'}", hint)
