"""Programs of another Debian's systemd, run in a root of its own in a private mount namespace; nothing is booted."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Final

from tests.rig.node import copy_root, debian_root

if TYPE_CHECKING:
    from pathlib import Path

# systemd-sysext moves its overlays out of a namespace of its own, so mounts must be shared inside this one.
_ENTER: Final = """
set -e
mount --make-rprivate /
mount --bind "$ROOT" "$ROOT"
mount --make-rshared "$ROOT"
mount --rbind /dev "$ROOT/dev"
mount --rbind /sys "$ROOT/sys"
mount -t proc proc "$ROOT/proc"
mount -t tmpfs tmpfs "$ROOT/run"
exec chroot "$ROOT" sh -c "$SCRIPT"
"""


class ForeignRoot:
    """The root of another Debian, whose files below `root` may be written from outside, but for those in /usr."""

    def __init__(self, suite: str, root: Path) -> None:
        copy_root(debian_root(suite), root)
        self.root = root

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a shell script inside; what it mounts is gone at its end."""
        environment = {**os.environ, "ROOT": str(self.root), "SCRIPT": script}
        command = ["unshare", "--mount", "sh", "-c", _ENTER]
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )
