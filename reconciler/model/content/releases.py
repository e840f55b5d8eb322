"""Which file of a directory of releases is taken: the newest whose version fits, for one platform."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid
from reconciler.model.content.filepattern import ARCHITECTURES, architecture_in
from reconciler.model.content.tag import Tag, read_file_version

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from reconciler.model.content.filepattern import Pattern
    from reconciler.model.content.ociread import Platform
    from reconciler.model.content.version import Range


class Release(NamedTuple):
    """A file of a directory, and the version in its name."""

    file: str
    version: Tag
    preference: tuple[int, int]  # between files of one version, less is preferred: the pattern, then the spelling


@dataclass(frozen=True, slots=True)
class Choice:
    """The file that was taken, and what else there was to take."""

    file: str
    version: str
    count: int  # versions in all
    newer: str | None = None  # the highest version there is, if another one was taken
    why_not: str | None = None

    @property
    def words(self) -> str:
        """For people."""
        told = f"{self.version}, of {self.count} version{'' if self.count == 1 else 's'}"
        return f"{told}; {self.newer} {self.why_not}" if self.newer else told


def releases_in(names: Iterable[str], patterns: Sequence[Pattern], platform: Platform) -> list[Release]:
    """The files whose names fit a pattern, newest first."""
    found = (release for name in names if (release := _release(name, patterns, platform)))
    return sorted(found, key=lambda it: (it.version.order, tuple(-rank for rank in it.preference)), reverse=True)


def _release(name: str, patterns: Sequence[Pattern], platform: Platform) -> Release | None:
    fits = [(rank, fit) for rank, it in enumerate(patterns) if (fit := it.fit(name, platform))]
    if not fits:
        return None
    versions = {fit.version: patterns[rank].text for rank, fit in reversed(fits)}
    if len(versions) > 1:
        readings = " and ".join(f"{version} by {pattern}" for version, pattern in versions.items())
        raise Invalid(
            f"{name} fits several patterns, and its version is {readings}",
            "let each file fit one pattern of match: alone",
            code="source.pattern",
        )
    rank, fit = fits[0]
    if architecture := architecture_in(fit.version):
        raise Invalid(
            f"{name}: by {patterns[rank].text} the version ends with an architecture, {architecture}",
            "write %a in match: where the architecture stands",
            code="source.pattern",
        )
    version = read_file_version(fit.version)
    return Release(name, version, (rank, fit.spelling)) if version else None


def none_fits(names: Collection[str], patterns: Sequence[Pattern], platform: Platform, where: str) -> Invalid:
    """What is said where no file's name fits any pattern: there may be some for other machines."""
    others = [it for it in ARCHITECTURES if releases_in(names, patterns, replace(platform, architecture=it))]
    wanted = f"{' or '.join(it.text for it in patterns)} for {platform}"
    told = f"none of the {len(names)} files of {where} is called {wanted}"
    if others:
        hint = "ask its publisher for this architecture, or set platform:"
        return Invalid(f"{told}; there are such for {', '.join(others)}", hint, code="platform.mismatch")
    hint = f"compare match: with the names there: livelayer catalog list {where}"
    return Invalid(told, hint, code="source.no-version")


def choose(releases: Sequence[Release], span: Range, where: str) -> Choice:
    """The newest that the range allows; of several files of one version the preferred one."""
    versions = [it.version for it in releases]
    best = span.best(versions)
    if best is None:
        raise span.miss_among(f"version in {where}", versions)
    return choice_of(next(it for it in releases if it.version == best), releases, span)


def choice_of(taken: Release, releases: Sequence[Release], span: Range) -> Choice:
    newest = releases[0].version
    count = len({it.version.text for it in releases})
    if newest.order <= taken.version.order:
        return Choice(taken.file, taken.version.text, count)
    why = span.why_not(newest) or "is newer, and another one is pinned"
    return Choice(taken.file, taken.version.text, count, newest.text, why)
