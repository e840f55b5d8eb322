"""Debian packages made from nothing."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_deb(
    directory: Path, name: str, files: Mapping[str, str], *, postinst: str | None = None, depends: str = ""
) -> Path:
    """A package; files in a `bin` directory are executable."""
    tree = directory / f"{name}.tree"
    control = f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
    control += f"Depends: {depends}\n" if depends else ""
    for path, text in {
        **files,
        "DEBIAN/control": control,
        **({"DEBIAN/postinst": postinst} if postinst else {}),
    }.items():
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755 if "bin/" in path or path == "DEBIAN/postinst" else 0o644)
    package = directory / f"{name}.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(package)], check=True, capture_output=True
    )
    return package
