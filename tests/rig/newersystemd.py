"""A newer systemd-repart than this machine's: Debian trixie's, run in a root of its own by a script of that name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.rig.guest import guest_root

if TYPE_CHECKING:
    from pathlib import Path

# It sees this machine's temporary directories in their own places, and its own programs.
_SCRIPT: Final = """#!/bin/sh
exec unshare --mount sh -c '
set -e
root=$1
shift
for directory in dev proc sys tmp var/tmp; do mount --rbind "/$directory" "$root/$directory"; done
exec chroot "$root" env PATH=/usr/sbin:/usr/bin systemd-repart "$@"
' sh '{root}' "$@"
"""


def newer_repart(directory: Path) -> Path:
    """A directory to put in front of PATH."""
    directory.mkdir()
    script = directory / "systemd-repart"
    script.write_text(_SCRIPT.format(root=guest_root()))
    script.chmod(0o755)
    return directory
