"""Debian's SELinux policy, which its package installs, as the policy of a miniature node; no kernel enforces it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

_INSTALLED: Final = Path("/etc/selinux/default/contexts/files")
_TEXTS: Final = ("file_contexts", "file_contexts.homedirs", "file_contexts.subs_dist")


def give_policy(root: Path, mode: str) -> None:
    """Let the node below `root` use the policy, in the mode `enforcing`, `permissive` or `disabled`."""
    contexts = root / "etc/selinux/default/contexts/files"
    contexts.mkdir(parents=True)
    for name in _TEXTS:
        shutil.copy2(_INSTALLED / name, contexts)
    (root / "etc/selinux/config").write_text(f"# as installed\nSELINUX={mode}\nSELINUXTYPE=default\n")


def type_of(path: Path) -> str | None:
    """The type in a file's label; None: it has no label."""
    try:
        label = os.getxattr(path, "security.selinux", follow_symlinks=False)
    except OSError:
        return None
    return label.rstrip(b"\0").decode().split(":")[2]
