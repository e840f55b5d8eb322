"""livelayer's wheel and those of its dependencies, for the Python of a node, in the versions that CI uses."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.rig.node import PROJECT
from tests.rig.once import CACHE, once

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PIP: Final = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
_KINDS: Final = ("_2_17", "2014", "_2_28", "_2_34")  # of manylinux


def build_wheel(directory: Path) -> None:
    """The wheel of this checkout; it suits every Python."""
    how = ("--no-deps", "--no-build-isolation", f"--wheel-dir={directory}")
    subprocess.run([*_PIP, "wheel", *how, str(PROJECT)], check=True)


def dependencies(root: Path) -> Path:
    """The wheels of what livelayer needs with the Python of a root."""
    python = (root / "usr/bin/python3").readlink().name.removeprefix("python")
    pinned = _pinned(python)
    key = hashlib.sha256(" ".join(pinned).encode()).hexdigest()[:12]
    return once(CACHE, f"wheels-{python}-{key}", lambda directory: _download(directory, python, pinned))


def _download(directory: Path, python: str, pinned: list[str]) -> None:
    kinds = [f"--platform=manylinux{kind}_{platform.machine()}" for kind in _KINDS]
    download = ["download", "--no-deps", "--only-binary=:all:", f"--python-version={python}", *kinds]
    subprocess.run([*_PIP, *download, f"--dest={directory}", *pinned], check=True)


def _pinned(python: str) -> list[str]:
    """Everything that is needed, with its version; pip would evaluate markers for the Python that runs it."""
    lock = (PROJECT / "requirements.lock").read_text().splitlines()
    locked = {canonicalize_name(it.name): it for it in map(Requirement, lock)}
    found, left = set[str](), ["livelayer"]
    while left:
        new = set(_needed(left.pop(), python)) - found
        found |= new
        left += new
    return [f"{name}{locked[canonicalize_name(name)].specifier}" for name in sorted(found)]


def _needed(name: str, python: str) -> Iterator[str]:
    other = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}  # than this Python
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(other):
            yield canonicalize_name(requirement.name)
