"""The observed state: what the store, the search directories and the merged overlay hold."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import ReconcilerError
from reconciler.model.release import Host, misfit

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENTRY: Final = re.compile(
    r"(?P<hex>[0-9a-f]{64})(?:\+(?P<name>[A-Za-z0-9][A-Za-z0-9._+-]{0,63}))?\.(?P<format>directory)"
)
_FORBIDDEN: Final = "usr/lib/os-release"


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """The identity of something in the store: the manifest's digest, and what was done to the content."""

    digest: str
    renamed_to: str | None = None  # its release file was also given under this extension's name

    @property
    def file_name(self) -> str:
        """How the entry is called in the store."""
        name = f"+{self.renamed_to}" if self.renamed_to else ""
        return f"{self.digest.removeprefix('sha256:')}{name}.directory"


def parse_entry(file_name: str) -> Entry | None:
    """The entry with this file name; None if the store does not call anything so."""
    match = _ENTRY.fullmatch(file_name)
    return Entry(f"sha256:{match['hex']}", match["name"]) if match else None


@dataclass(frozen=True, slots=True)
class Contents:
    """What is inside an unpacked extension, as far as it decides whether it may be merged."""

    releases: Mapping[str, Mapping[str, str]]  # the extension-release files, by the name they are for
    strays: tuple[str, ...] = ()  # what is neither below /usr nor below /opt, and not an empty directory
    has_os_release: bool = False
    units: tuple[str, ...] = ()  # names in usr/lib/systemd/system: unit files and directories of drop-ins

    def misfit(self, name: str, host: Host) -> ReconcilerError | None:
        """Why this content must not be placed as `name` on this host; None: it may."""
        return self._shape_error(name) or self._release_error(name, host)

    def _shape_error(self, name: str) -> ReconcilerError | None:
        if self.has_os_release:
            return ReconcilerError(
                f"{name}: the content holds {_FORBIDDEN}, which would make systemd refuse every extension",
                "build the image FROM scratch with the extension's own files only",
            )
        if self.strays:
            listed = ", ".join(f"/{stray}" for stray in self.strays[:3])
            return ReconcilerError(
                f"{name}: the content holds {listed}; a system extension carries /usr and /opt only",
                "build the image FROM scratch with the extension's own files only",
            )
        return None

    def _release_error(self, name: str, host: Host) -> ReconcilerError | None:
        if name not in self.releases:
            return self._release_name_error(name)
        if reason := misfit(self.releases[name], host):
            return ReconcilerError(
                f"{name}: does not fit this host: {reason}",
                "use an image built for this OS version, or ID=_any for content that needs nothing of the host",
            )
        return None

    def _release_name_error(self, name: str) -> ReconcilerError:
        others = sorted(self.releases)
        if len(others) == 1:
            return ReconcilerError(
                f"{name}: the content's release file is extension-release.{others[0]}, not extension-release.{name}",
                f"call the extension {others[0]}, or set rename: true",
            )
        found = f"several release files ({', '.join(others)})" if others else "no release file"
        return ReconcilerError(
            f"{name}: the content has {found}, none for this name",
            f"add usr/lib/extension-release.d/extension-release.{name} to the image (at least ID=_any)",
        )


@dataclass(frozen=True, slots=True)
class Link:
    """A symlink in the search directory that points into the store: placed by livelayer."""

    name: str
    entry: Entry
    changed: int  # when the link itself was made, nanoseconds since the epoch
    dangling: bool = False  # the store has no such entry


@dataclass(frozen=True, slots=True)
class Unmanaged:
    """An extension somebody else put into a search directory."""

    name: str
    path: Path
    outranks: bool = True  # systemd would take it rather than a link of the same name


@dataclass(frozen=True, slots=True)
class Merged:
    """The overlay as the kernel and systemd-sysext's own records show it."""

    names: frozenset[str] = frozenset()
    since: int | None = None  # when it was merged, nanoseconds since the epoch; None: nothing is


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a source led to: the digest it names, and the digest of this platform's manifest in it."""

    digest: str
    manifest: str

    def satisfies(self, pin: str | None) -> bool:
        """Whether a pin names this content, by its index or by its manifest."""
        return pin in {None, self.digest, self.manifest}


@dataclass(frozen=True, slots=True)
class ObservedState:
    """One look at the node."""

    host: Host
    links: Mapping[str, Link] = field(default_factory=dict)
    unmanaged: tuple[Unmanaged, ...] = ()  # in systemd's order of search directories
    store: Mapping[Entry, Contents] = field(default_factory=dict)
    merged: Merged | None = Merged()  # None: there is no overlay to look at (another root)
    refresh_owed: bool = False  # a run changed links and ended before its refresh was seen to work
    links_dir: Path = Path("/var/lib/extensions")

    def obstacle(self, name: str) -> Unmanaged | None:
        """What stands where a link would go, or hides it from a directory of higher precedence."""
        for item in self.unmanaged:
            if item.name == name and item.outranks:
                return item
        return None
