"""The two kinds of extensions systemd knows, and what tells them apart (systemd-sysext(8), os-release(5))."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """Whether an extension is layered onto /usr and /opt, or onto /etc."""

    SYSEXT = "sysext"
    CONFEXT = "confext"

    @property
    def traits(self) -> Traits:
        """What holds for extensions of this kind."""
        return _TRAITS[self]


@dataclass(frozen=True, slots=True)
class Traits:
    """The names that belong to a kind. Paths are relative to the content's root."""

    tops: frozenset[str]  # what the content may carry at its top
    releases: str  # the directory of its extension-release files
    forbidden: str | None  # a file that makes systemd refuse every extension
    scope: str  # the release field that says where it may be used
    level: str  # the release field that stands for a range of OS versions


_TRAITS: Final = {
    Kind.SYSEXT: Traits(
        frozenset({"usr", "opt"}), "usr/lib/extension-release.d", "usr/lib/os-release", "SYSEXT_SCOPE", "SYSEXT_LEVEL"
    ),
    Kind.CONFEXT: Traits(frozenset({"etc"}), "etc/extension-release.d", None, "CONFEXT_SCOPE", "CONFEXT_LEVEL"),
}
