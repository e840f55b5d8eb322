"""The observed state: what the store, the search directories and the merged overlay hold."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid, ReconcilerError
from reconciler.model.format import Format, Payload
from reconciler.model.image import digest_of
from reconciler.model.kind import Ident, Kind
from reconciler.model.release import Host, misfit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.model.health import Bad, Unproven
    from reconciler.model.imageformat import ImageFormat
    from reconciler.model.imagepolicy import ImagePolicy
    from reconciler.model.source import Source

_ENTRY: Final = re.compile(
    r"(?P<hex>[0-9a-f]{64})(?P<confext>~confext)?(?:\+(?P<name>[A-Za-z0-9][A-Za-z0-9._+-]{0,63}))?"
    rf"\.(?P<format>{'|'.join(Format)})"
)
_REBUILD: Final = "build the image FROM scratch with the extension's own files only"


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """The identity of something in the store: the source's digest, and what was made of the content."""

    digest: str  # of a container image's manifest, a file, or a directory
    renamed_to: str | None = None  # its release file was also given under this extension's name
    format: Format = Format.DIRECTORY
    kind: Kind = Kind.SYSEXT

    @property
    def file_name(self) -> str:
        """How the entry is called in the store."""
        kind = "~confext" if self.kind is Kind.CONFEXT else ""
        name = f"+{self.renamed_to}" if self.renamed_to else ""
        return f"{self.digest.removeprefix('sha256:')}{kind}{name}.{self.format}"

    def link_name(self, name: str) -> str:
        """How a link to it must be called, so that systemd takes it for an extension of this name."""
        return f"{name}.raw" if self.format.is_file else name


def parse_entry(file_name: str) -> Entry | None:
    """The entry with this file name; None if the store does not call anything so."""
    match = _ENTRY.fullmatch(file_name)
    if match is None:
        return None
    kind = Kind.CONFEXT if match["confext"] else Kind.SYSEXT
    return Entry(f"sha256:{match['hex']}", match["name"], Format(match["format"]), kind)


@dataclass(frozen=True, slots=True)
class Contents:
    """What is inside an extension, as far as it decides whether it may be merged."""

    releases: Mapping[str, Mapping[str, str]]  # the extension-release files, by the name they are for
    strays: tuple[str, ...] = ()  # what its kind may not carry at the top, empty directories aside
    has_os_release: bool = False  # usr/lib/os-release, with which systemd refuses every extension
    units: tuple[str, ...] = ()  # names in its kind's directory of units: unit files and directories of drop-ins
    image: ImageFormat | None = None  # what the image file is; None: a directory

    def misfit(self, ident: Ident, host: Host) -> ReconcilerError | None:
        """Why this content must not be placed as `ident` on this host; None: it may."""
        of_image = image_error(ident, self.image, host) if self.image else None
        return of_image or self.shape_error(ident) or self._release_error(ident, host)

    def shape_error(self, ident: Ident) -> ReconcilerError | None:
        """What it has that makes it no extension of its kind on any host; None: nothing."""
        if self.has_os_release:
            reason = "usr/lib/os-release, which would make systemd refuse every extension"
            return ReconcilerError(f"{ident}: the content holds {reason}", _REBUILD)
        if self.strays:
            listed = ", ".join(f"/{stray}" for stray in self.strays[:3])
            return ReconcilerError(f"{ident}: the content holds {listed}; {ident.kind.carries}", _REBUILD)
        return None

    def _release_error(self, ident: Ident, host: Host) -> ReconcilerError | None:
        name, kind = ident
        if name not in self.releases:
            return self._release_name_error(ident)
        if reason := misfit(self.releases[name], host, kind):
            return ReconcilerError(
                f"{name}: does not fit this host: {reason}",
                "use an image built for this OS version, or ID=_any for content that needs nothing of the host",
            )
        return None

    def _release_name_error(self, ident: Ident) -> ReconcilerError:
        name, kind = ident
        others = sorted(self.releases)
        if len(others) == 1:
            return ReconcilerError(
                f"{name}: the content's release file is extension-release.{others[0]}, not extension-release.{name}",
                f"call the extension {others[0]}, or set rename: true",
            )
        found = f"several release files ({', '.join(others)})" if others else "no release file"
        return ReconcilerError(
            f"{name}: the content has {found}, none for this name",
            f"add {kind.traits.releases}/extension-release.{name} to the image (at least ID=_any)",
        )


def image_error(ident: Ident, image: ImageFormat, host: Host) -> ReconcilerError | None:
    """Why systemd would not attach an image file on this host; it would fail the refresh of all extensions."""
    if host.systemd < image.least_systemd:
        reason = f"the image takes systemd {image.least_systemd}, and this host has {host.systemd}"
        return ReconcilerError(f"{ident}: {reason}", "use an image with sectors of 512 bytes")
    policy = host.image_policies.get(ident.kind)
    if policy and (error := _policy_error(ident, image, policy, host)):
        return error
    if not host.has_loop_devices:
        reason = "this node has no loop devices, by which systemd attaches image files"
        return ReconcilerError(f"{ident}: {reason}", "load the module loop, or set format: directory")
    return None


def _policy_error(ident: Ident, image: ImageFormat, policy: ImagePolicy, host: Host) -> ReconcilerError | None:
    from reconciler.model.imagepolicy import needs_device_mapper, refusal

    if reason := refusal(policy, image):
        return ReconcilerError(f"{ident}: {reason}", "use another format:, or change the policy")
    if not host.has_device_mapper and needs_device_mapper(policy, image):
        reason = "the image policy lets systemd use the image's dm-verity data, and this kernel has no device-mapper"
        return ReconcilerError(f"{ident}: {reason}", "load the modules dm-mod and dm-verity, or use another format:")
    return None


@dataclass(frozen=True, slots=True)
class Link:
    """A symlink in the search directory that points into the store: placed by livelayer."""

    name: str
    entry: Entry
    changed: int  # when the link itself was made, nanoseconds since the epoch
    dangling: bool = False  # the store has no such entry
    doubled: bool = False  # a link for the other form (NAME, NAME.raw) is there too

    @property
    def ident(self) -> Ident:
        """The extension it is for."""
        return Ident(self.name, self.entry.kind)


@dataclass(frozen=True, slots=True)
class Unmanaged:
    """An extension somebody else put into a search directory."""

    name: str
    path: Path
    outranks: bool = True  # systemd would take it rather than a link of the same name
    kind: Kind = Kind.SYSEXT
    agent: bool = False  # kairos-agent's
    searched: bool = True  # False: systemd does not look where it lies

    @property
    def ident(self) -> Ident:
        """The extension that systemd takes it for."""
        return Ident(self.name, self.kind)


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something unmanaged that systemd would take, and on whose account it would merge nothing at all."""

    item: Unmanaged
    reason: str
    mask: Path | None = None  # where an empty directory hides it from systemd, or would; None: nowhere


@dataclass(frozen=True, slots=True)
class Masked:
    """An empty directory that livelayer made in a search directory, so that systemd does not see a bad extension."""

    ident: Ident
    path: Path
    file: Path  # the bad one
    reason: str  # why it is bad


@dataclass(frozen=True, slots=True)
class Merged:
    """The overlay as the kernel and systemd-sysext's own records show it."""

    names: frozenset[str] = frozenset()
    since: int | None = None  # when it was merged, nanoseconds since the epoch; None: nothing is


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a source led to: the digest it names, and the digest of this platform's manifest in it."""

    digest: str
    manifest: str  # the same as `digest` where there is only one
    payload: Payload = Payload.LAYERS
    size: int | None = None  # bytes to transfer; None: unknown
    tag: str | None = None  # the one that `version:` chose
    parts: tuple[Resolution, ...] = ()  # of several sources, lowest first
    origin: Source | None = None  # where the content is, if the source itself does not say so: it names a catalog

    def satisfies(self, pin: str | None) -> bool:
        """Whether a pin names this content, by its index or by its manifest."""
        return pin in {None, self.digest, self.manifest}


def combined(parts: tuple[Resolution, ...]) -> Resolution:
    """Several sources as one; its digest is that of a text which has a line with the digest of each, in their order.

    Raises:
        Invalid: one of them is an image file, over or under which nothing can be laid.
    """
    if any(part.payload is Payload.IMAGE for part in parts):
        raise Invalid("an image file cannot be one of several sources", "name it alone, or a container image instead")
    lines = ["livelayer sources", *(part.manifest for part in parts)]
    digest = digest_of("".join(f"{line}\n" for line in lines).encode())
    sizes = [part.size for part in parts if part.size is not None]
    size = sum(sizes) if len(sizes) == len(parts) else None
    return Resolution(digest, digest, Payload.LAYERS, size, parts=parts)


@dataclass(frozen=True, slots=True)
class ObservedState:
    """One look at the node."""

    host: Host
    links: Mapping[Ident, Link] = field(default_factory=dict)
    unmanaged: tuple[Unmanaged, ...] = ()  # in systemd's order of search directories
    store: Mapping[Entry, Contents] = field(default_factory=dict)
    merged: Mapping[Kind, Merged] | None = field(default_factory=dict)  # None: there is no overlay (another root)
    unproven: Mapping[Ident, Unproven] = field(default_factory=dict)  # changes whose checks are yet to pass
    bad: Mapping[Ident, Bad] = field(default_factory=dict)  # changes that failed, under the present configuration
    own: frozenset[Ident] = frozenset()  # the extensions that livelayer itself runs from
    refresh_owed: frozenset[Kind] = frozenset()  # a run changed links and ended before its refresh was seen to work
    changed: Mapping[Entry, str] = field(default_factory=dict)  # linked content that is not as placed, and how
    intact: Mapping[Entry, int] = field(default_factory=dict)  # what looked changed and is not, and when: nanoseconds
    blockers: tuple[Blocker, ...] = ()  # those that are masked already, too
    masks: tuple[Masked, ...] = ()

    def obstacle(self, ident: Ident) -> Unmanaged | None:
        """What stands where a link would go, or hides it from a directory of higher precedence."""
        for item in self.unmanaged:
            if item.ident == ident and item.outranks:
                return item
        return None

    def overlay(self, kind: Kind) -> Merged | None:
        """The overlay of a kind; one that was never merged is empty."""
        return None if self.merged is None else self.merged.get(kind, Merged())
