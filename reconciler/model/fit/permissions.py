"""Who may look into a directory, and whom an extension's directory in the place of the host's would lock out.

Of a directory that several layers have, an overlay shows mode and owner of the topmost one.
"""

from __future__ import annotations

import re
from typing import Final

from reconciler.dataclass import dataclass

_EVERYBODY: Final = 0o555  # reading and searching; who may write makes no difference, as an overlay is read-only
NARROWED_HINT: Final = "build it with 'livelayer build', or of a tree after chmod -R go+rX and chown -R root:root"
# What every host has, and everybody on it has to get into.
_USUAL: Final = re.compile(
    r"""usr|opt|etc
    |usr/(bin|sbin|lib(32|64|x32|exec)?|share|include|src|local)
    |usr/local/(bin|sbin|lib(64|exec)?|share|include|src|etc)
    |usr/lib/\w+-linux-gnu\w*
    |usr/(local/)?share/(man(/man[1-9])?|doc|info|locale|licenses|applications|icons|fonts|zoneinfo|terminfo)
    |usr/share/(bash-completion(/completions)?|zsh(/site-functions|/vendor-completions)?|fish(/vendor_completions\.d)?)
    |usr/share/dbus-1(/(services|system-services|system\.d|session\.d|interfaces))?
    |(usr/(local/)?lib|etc)/systemd(/(system|user|network)(/[\w@.-]+\.(d|wants|requires|upholds))?)?
    |(usr/lib|etc)/(udev(/(rules|hwdb)\.d)?|(sysusers|tmpfiles|modules-load|modprobe|sysctl|environment|binfmt)\.d)
    |(usr/lib|etc)/(extension-release|ld\.so\.conf|profile)\.d
    |usr/lib/(modules|firmware)
    |etc/(ssl(/certs)?|pam\.d|security|default|xdg)""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Permissions:
    """Mode and owner of a directory."""

    mode: int = 0o755  # permissions
    uid: int = 0
    gid: int = 0

    def __str__(self) -> str:
        return f"{self.mode & 0o7777:04o} {self.uid}:{self.gid}"

    @property
    def is_open(self) -> bool:
        """Whether everybody may look into it, and nobody but root owns it."""
        return self.mode & _EVERYBODY == _EVERYBODY and not self.uid

    def narrows(self, host: Permissions) -> bool:
        """Whether it lets somebody do less than the host's, root aside, or gives it to an owner that is neither's."""
        users = self.mode >> 6 if self.uid == host.uid else self.mode
        group = self.mode >> 3 if self.gid == host.gid else self.mode
        lost = _lost(host.mode, self.mode) | _lost(host.mode >> 3, group)
        if host.uid:
            lost |= _lost(host.mode >> 6, users)
        return bool(lost) or self.uid not in {0, host.uid}


def _lost(before: int, after: int) -> int:
    """Of reading and searching, in the last three bits, what was there before and is not any more."""
    return before & ~after & _EVERYBODY & 7


def is_usual(path: str) -> bool:
    """Whether every host has this directory, which is without a leading slash, for everybody to get into."""
    return _USUAL.fullmatch(path) is not None
