"""What is pushed: whether any host could merge it, for which platforms it is, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid
from reconciler.model.content.ociread import TITLE, Platform, platform_for
from reconciler.model.content.tag import read_tag
from reconciler.model.fit.release import SYNONYMS
from reconciler.model.kind import ExtensionId, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.content.ociread import Descriptor
    from reconciler.model.fit.contents import Contents

VERSION: Final = "org.opencontainers.image.version"


@dataclass(frozen=True, slots=True)
class Subject:
    """An extension that was looked into before it is pushed."""

    shown: str  # as the user named it
    stem: str  # the name that its file or directory would give it
    kind: Kind
    contents: Contents
    architecture: str | None = None  # of a disk image's partitions, as systemd calls it

    @property
    def name(self) -> str:
        """What it is called: what its release file is for, or its file's name among several."""
        releases = sorted(self.contents.releases)
        return self.stem if self.stem in releases or not releases else releases[0]

    @property
    def release(self) -> Mapping[str, str]:
        return self.contents.releases.get(self.name, {})

    @property
    def machine(self) -> str | None:
        """The only architecture that it is for, as systemd calls it; None: it says none."""
        wanted = self.release.get("ARCHITECTURE", "")
        return self.architecture if wanted in {"", "_any"} else wanted

    @property
    def form(self) -> str:
        return str(self.contents.image) if self.contents.image else "directory"


@dataclass(frozen=True, slots=True)
class PublishedImage:
    """One image that was pushed."""

    manifest: Descriptor
    made_of: str
    subject: Subject | None  # None: it was not looked into


@dataclass(frozen=True, slots=True)
class Published:
    """What was pushed."""

    held: Descriptor  # the manifest of a sole image, or the index of several
    images: tuple[PublishedImage, ...]


def objection(subject: Subject) -> Invalid | None:
    """Why no host would merge it; None: some could."""
    contents, kind = subject.contents, subject.kind
    if error := contents.shape_error(ExtensionId(subject.shown, kind)):
        return error
    if not contents.releases:
        return Invalid(
            f"{subject.shown} has no release file, and so no host merges it",
            f"add {Kind.SYSEXT.traits.releases}/extension-release.NAME (at least ID=_any), or make the extension "
            "with: livelayer build",
        )
    path = f"{subject.shown}: extension-release.{subject.name}"
    if not subject.release.get("ID"):
        return Invalid(
            f"{path} has no ID, and so no host merges it", "add ID=_any, or the ID of the hosts' os-release"
        )
    wanted = subject.release.get("ARCHITECTURE", "")
    if wanted in SYNONYMS:
        return Invalid(
            f"{path} has ARCHITECTURE={wanted}, which no host has",
            f"write it as systemd does: ARCHITECTURE={SYNONYMS[wanted]}",
        )
    if subject.architecture and wanted not in {"", "_any", subject.architecture}:
        return Invalid(
            f"{path} has ARCHITECTURE={wanted}, and the disk image's partitions are for {subject.architecture}",
            "build it anew for one of them",
        )
    return None


def platforms_of(subject: Subject, asked: Sequence[Platform], own: Platform) -> tuple[Platform, ...]:
    """For which platforms it is pushed: as asked, as it says itself, or this machine's."""
    declared = platform_for(subject.machine) if subject.machine else None
    for platform in asked:
        if declared and (declared.os, declared.architecture) != (platform.os, platform.architecture):
            raise Invalid(
                f"{subject.shown} is for {declared} by its release file, not for {platform}",
                f"leave out --platform, or push it with --platform {declared}",
            )
    return tuple(asked) or (declared or own,)


def default_annotations(subject: Subject, tag: str | None) -> dict[str, str]:
    """What is said of an image in the words of the OCI specification, unless the user says otherwise."""
    version = subject.release.get("IMAGE_VERSION") or (tag if tag and read_tag(tag) else None)
    return {TITLE: subject.name, **({VERSION: version} if version else {})}


def refuse_duplicates(platforms: Sequence[tuple[str, Platform]]) -> None:
    """Each platform leads to one image; `platforms` has what each image was made of, and what it is for."""
    seen: dict[Platform, str] = {}
    for shown, platform in platforms:
        if platform in seen:
            raise Invalid(
                f"{seen[platform]} and {shown} are both for {platform}",
                "say which is for what by ARCHITECTURE= in their release files, or by one --platform for each",
            )
        seen[platform] = shown
