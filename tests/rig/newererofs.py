"""A newer mkfs.erofs than this machine's: Debian trixie's, run in a root of its own by a script of the same name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.rig.node import debian_root

if TYPE_CHECKING:
    from pathlib import Path

# It sees this machine below /mnt, so absolute paths are given that in front.
_SCRIPT: Final = """#!/bin/sh
exec unshare --mount sh -c '
root=$1
shift
mount --rbind / "$root/mnt"
for argument do
    shift
    case "$argument" in
    /*) set -- "$@" "/mnt$argument" ;;
    *) set -- "$@" "$argument" ;;
    esac
done
TMPDIR=/mnt$TMPDIR exec chroot "$root" mkfs.erofs "$@"
' sh '{root}' "$@"
"""


def newer_mkfs(directory: Path) -> Path:
    """A directory to put in front of PATH."""
    directory.mkdir()
    script = directory / "mkfs.erofs"
    script.write_text(_SCRIPT.format(root=debian_root("trixie", "erofs-utils")))
    script.chmod(0o755)
    return directory
