"""Which kernels an extension is for: `kernel: ">=6.1"`, with the comparisons of version ranges."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid, ReconcilerError
from reconciler.model.content.tag import version_of
from reconciler.model.content.version import parse_range

if TYPE_CHECKING:
    from packaging.version import Version

    from reconciler.model.content.version import Range

# `6.1.0-25-amd64`, `6.8.0-rc3+`, `5.14.0-427.13.1.el9_4.x86_64`: what follows the numbers is the vendor's.
_RELEASE: Final = re.compile(r"(?P<numbers>\d+(?:\.\d+)*)(?:-?rc(?P<candidate>\d+))?")


def parse_constraint(text: str) -> Range:
    constraint = parse_range(text)
    if constraint.suffix is not None:
        raise ValueError(f"-{constraint.suffix}: of a kernel only the numbers are compared")
    return constraint


def kernel_version(release: str) -> Version | None:
    """The version in what `uname -r` prints; None: it begins with no number."""
    match = _RELEASE.match(release)
    if match is None:
        return None
    return version_of(match["numbers"] + (f"rc{match['candidate']}" if match["candidate"] else ""))


def misfit(constraint: Range, release: str) -> ReconcilerError | None:
    """Why an extension must not be merged under this kernel; None: it may, or there is no kernel that is known."""
    if not release:
        return None
    version = kernel_version(release)
    if version is not None and version in constraint:
        return None
    hint = "boot another kernel, or change kernel:"
    return Invalid(f"takes a kernel {constraint.text}, and this host has {release}", hint, code="kernel.mismatch")
