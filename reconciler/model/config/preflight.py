"""What is looked at before extensions are placed, and whether what is found there keeps them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Reaction: TypeAlias = Literal["warn", "refuse"]


@dataclass(frozen=True, slots=True)
class Preflight:
    """How to react to what is found: say it, or keep the extension from being placed as well."""

    collisions: Reaction = "warn"  # files that another extension has, too
    host_files: Reaction = "warn"  # files that hide the host's
    links: Reaction = "refuse"  # a directory where the host has a symbolic link
    layers: Reaction = "refuse"  # more extensions than an overlay takes
    space: Reaction = "refuse"  # more to fetch than the disk has room for
    labels: Reaction = "warn"  # files without SELinux labels of their own, where SELinux is enforcing
