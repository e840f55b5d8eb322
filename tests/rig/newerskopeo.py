"""A newer skopeo than this machine's: Debian trixie's, run with that root's libraries by a script of the same name.

bookworm's is built without sigstore signatures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.rig.node import debian_root

if TYPE_CHECKING:
    from pathlib import Path

_SCRIPT: Final = """#!/bin/sh
exec {loader} --library-path {libraries} {root}/usr/bin/skopeo "$@"
"""


def newer_skopeo(directory: Path) -> Path:
    """A directory to put in front of PATH."""
    directory.mkdir()
    root = debian_root("trixie")
    (loader,) = root.glob("usr/lib/*-linux-gnu/ld-linux-*.so.*")
    script = directory / "skopeo"
    script.write_text(_SCRIPT.format(loader=loader, libraries=loader.parent, root=root))
    script.chmod(0o755)
    return directory
