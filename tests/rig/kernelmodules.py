"""Modules of Debian's kernel, some in each of several trees, with indexes as depmod makes them of each tree alone."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.rig.guest import guest_root

MODULES: Final = "usr/lib/modules"
KERNEL: Final = os.uname().release


def give_modules(tree: Path, *names: str) -> None:
    """Give a tree these modules, as if they were of the kernel that runs here; nobody loads them."""
    (origin,) = Path(guest_root(), MODULES).iterdir()
    target = tree / MODULES / KERNEL / "kernel"
    target.mkdir(parents=True, exist_ok=True)
    for name in names:
        (found,) = origin.rglob(f"{name}.ko*")
        shutil.copy(found, target)
    index(tree)


def index(tree: Path) -> None:
    """Let depmod see what is in this tree, and nothing else."""
    lib = tree / "lib"
    is_merged = lib.is_symlink()
    if not is_merged:
        lib.symlink_to("usr/lib")
    # It misses lists of what is built in, which nobody needs here.
    subprocess.run(["depmod", "-b", str(tree), KERNEL], check=True, stderr=subprocess.DEVNULL)
    if not is_merged:
        lib.unlink()
