"""Image files as an operator makes them: disk images (DDI) with dm-verity, signed or not, and naked squashfs.

The tools are those of a Debian root, which stays as it is; nothing is mounted and no device is needed.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.rig.node import run_in_root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.rig.images import Member

_SHARED: Final = "/mnt"
_DEFINITIONS: Final = "usr/lib/systemd/repart/definitions/sysext.repart.d"


class ImageMaker:
    """Makes images in a scratch directory."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self._root = root
        self._scratch = scratch

    def key_pair(self, name: str) -> Path:
        """Make a private key and its certificate, whose file is returned."""
        files = ("-keyout", f"{_SHARED}/{name}.key", "-out", f"{_SHARED}/{name}.crt")
        self._run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-subj", f"/CN={name}", *files)
        return self._scratch / f"{name}.crt"

    def file(self, name: str) -> Path:
        """A file of a key pair: NAME.key or NAME.crt."""
        return self._scratch / name

    def signed(self, name: str, members: Sequence[Member], key: str) -> Path:
        """A DDI of three partitions: data, dm-verity's hashes, and the signature of their root by a key pair."""
        signature = (f"--private-key={_SHARED}/{key}.key", f"--certificate={_SHARED}/{key}.crt")
        return self._repart(name, members, "--make-ddi=sysext", *signature)

    def unsigned(self, name: str, members: Sequence[Member]) -> Path:
        """A DDI of the first two partitions: data and dm-verity's hashes."""
        definitions = self._scratch / "unsigned.repart.d"
        without = shutil.ignore_patterns("*-verity-sig.conf")
        shutil.copytree(self._root / _DEFINITIONS, definitions, ignore=without, dirs_exist_ok=True)
        options = ("--empty=create", "--size=auto", f"--definitions={_SHARED}/{definitions.name}")
        return self._repart(name, members, *options)

    def squashfs(self, name: str, members: Sequence[Member]) -> Path:
        """A naked file system, without partitions."""
        tree, image = self._tree(name, members)
        self._run("mksquashfs", self._inside(tree), self._inside(image), "-quiet", "-no-progress")
        return image

    def _repart(self, name: str, members: Sequence[Member], *options: str) -> Path:
        tree, image = self._tree(name, members)
        self._run("systemd-repart", *options, f"--copy-source={self._inside(tree)}", self._inside(image))
        return image

    def _tree(self, name: str, members: Sequence[Member]) -> tuple[Path, Path]:
        """The files that go into an image, and where it shall be."""
        directory = Path(tempfile.mkdtemp(dir=self._scratch))
        for member in members:
            path = directory / "tree" / member.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(member.content)
            path.chmod(member.mode)
        return directory / "tree", directory / f"{name}.raw"

    def _inside(self, path: Path) -> str:
        return f"{_SHARED}/{path.relative_to(self._scratch)}"

    def _run(self, *arguments: str) -> None:
        shared = ("--read-only", f"--bind={self._scratch}:{_SHARED}")
        run_in_root(self._root, "env", "TMPDIR=/tmp", *arguments, options=shared)
