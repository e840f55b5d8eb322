"""Ranges of versions: `>=1.29,<1.30`, and which tag of a repository is the highest that fits.

packaging compares the versions. Its specifiers are not used: they have neither `^1.2` nor `~1.2` nor a bare `1.29`,
let one pre-release open the door for all, and take a tag's suffix for something else.
"""

from __future__ import annotations

import re
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid
from reconciler.model.content.tag import Tag, read_file_version, read_tag, read_tags, split_epoch, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from packaging.version import Version

_ITEM: Final = re.compile(r"(?P<operator>[<>=!~^]*)\s*(?P<version>.*)")
_WILDCARD: Final = re.compile(r"(?:(?P<numbers>.*)\.)?[*xX]")
_SUFFIX: Final = re.compile(r"[A-Za-z0-9._*?~+-]+")
_KNOWN: Final = ">= > <= < == != ~= ~ ^"
_SUFFIXED: Final = "{item!r} has the suffix -{suffix}, which is a part of its own: {plain},-{suffix}"


@dataclass(frozen=True, slots=True)
class _Interval:
    """Versions from `low` to `high`, or all others."""

    low: Version | None = None
    high: Version | None = None
    with_low: bool = True
    with_high: bool = False
    negated: bool = False

    def __contains__(self, version: Version) -> bool:
        above = self.low is None or version > self.low or (self.with_low and version == self.low)
        below = self.high is None or version < self.high or (self.with_high and version == self.high)
        return (above and below) != self.negated


@dataclass(frozen=True, slots=True)
class _Comparison:
    """A part of a range, such as `>=1.29`."""

    interval: _Interval
    written: Version | None  # None: it was *
    wants: bool  # whether the version it names is one to have, not one to stay away from
    epoch: int | None = None  # None: it names none, and versions of all are compared without

    def __contains__(self, version: Version) -> bool:
        if self.epoch is None or self.epoch == version.epoch:
            return _without_epoch(version) in self.interval
        is_below = version.epoch < self.epoch
        has_room = self.interval.low if is_below else self.interval.high
        return (has_room is None) != self.interval.negated


@dataclass(frozen=True, slots=True)
class Range:
    """The versions that all comparisons allow, with one suffix or none."""

    text: str
    comparisons: tuple[_Comparison, ...]
    suffix: str | None = None  # a pattern; None: only tags without a suffix
    prereleases: bool = False  # True: all pre-releases; False: of those releases the range names a pre-release of

    def highest(self, tags: Iterable[str]) -> str | None:
        """The highest tag that fits, in whatever order they come; None: none fits."""
        best = self.best(read_tags(tags))
        return best.text if best else None

    def best(self, versions: Iterable[Tag]) -> Tag | None:
        fitting = [it for it in versions if it.version in self and not self._obstacle(it)]
        return max(fitting, key=lambda it: it.order, default=None)

    def why_not(self, version: Tag) -> str | None:
        """Why a version is not taken; None: it could be."""
        if version.version not in self:
            return f"is not in {self.text}"
        obstacle = self._obstacle(version)
        return obstacle[0] if obstacle else None

    def miss(self, name: str, tags: Iterable[str]) -> Invalid:
        versions = self._worth_naming(read_tags(tags))
        if not versions:
            return _no_version(f"no tag of {name} is a version", "name a tag in source:, instead of version:")
        return self.miss_among(f"tag of {name}", versions)

    def miss_among(self, noun: str, versions: Sequence[Tag]) -> Invalid:
        """What is said where none of these versions, of which there are some, is taken."""
        near = [(tag, why) for tag in versions if tag.version in self and (why := self._obstacle(tag))]
        if near:
            tag, (reason, hint) = max(near, key=lambda item: item[0].order)
            return _no_version(f"no {noun} fits {self.text}; {tag.text} would, but {reason}", hint)
        best = max([tag for tag in versions if not self._obstacle(tag)] or versions, key=lambda tag: tag.order)
        return _no_version(f"no {noun} fits {self.text}; the highest is {best.text}", "change version:")

    def __contains__(self, version: Version) -> bool:
        return all(version in comparison for comparison in self.comparisons)

    def _obstacle(self, tag: Tag) -> tuple[str, str] | None:
        """Why a tag is not taken although its version is in the range, and how to have it."""
        if not self._takes_suffix(tag):
            if self.suffix is not None:
                return f"does not end in -{self.suffix}", "change the suffix in version:"
            return f"has the suffix -{tag.suffix}", f"to have it: {self.text},-{tag.suffix}"
        if tag.version.is_prerelease and not self._takes_prerelease(tag.version):
            return "is a pre-release", "to have it, name a pre-release of the same release, such as >=1.30.0-rc1"
        is_number = tag.build is None and len(tag.version.release) == 1
        if is_number and not self._takes_whole_numbers():
            return "is one number without a dot", "to have it, compare with such a number, such as >=20240101"
        return None

    def _takes_suffix(self, tag: Tag) -> bool:
        """A tag's may name a variant, so it must be asked for; a file's build is a part of its version."""
        suffix = tag.build or tag.suffix
        return not tag.suffix if self.suffix is None else bool(suffix) and fnmatchcase(suffix, self.suffix)

    def _takes_prerelease(self, version: Version) -> bool:
        named = (item.written for item in self.comparisons if item.wants and item.written)
        return self.prereleases or any(it.is_prerelease and _release(it) == _release(version) for it in named)

    def _takes_whole_numbers(self) -> bool:
        """A tag of one number is a date, a build, or a commit without letters, unless the range has such a number."""
        return any(item.written and len(item.written.release) == 1 for item in self.comparisons)

    def _worth_naming(self, versions: list[Tag]) -> list[Tag]:
        """Versions without whole numbers, unless those count or nothing else is there."""
        if self._takes_whole_numbers():
            return versions
        return [tag for tag in versions if len(tag.version.release) > 1] or versions


def _no_version(reason: str, hint: str) -> Invalid:
    return Invalid(reason, hint, code="source.no-version")


def parse_range(text: str, *, prereleases: bool = False) -> Range:
    """Read comparisons, and at most one `-SUFFIX`, with commas between them."""
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise ValueError("a version range has comparisons with commas between them, such as >=1.29,<1.30")
    suffixes = [item for item in items if item.startswith("-")]
    if len(suffixes) > 1:
        raise ValueError(f"{', '.join(suffixes)}: a version range has one suffix at most")
    comparisons = tuple(_comparison(item) for item in items if item not in suffixes)
    return Range(",".join(items), comparisons, _suffix(suffixes[0]) if suffixes else None, prereleases)


def _suffix(item: str) -> str:
    if not _SUFFIX.fullmatch(item[1:]):
        raise ValueError(f"{item!r} is no suffix; it looks like -k3s1, or -k3s* for any that begins so")
    return item[1:]


def _comparison(item: str) -> _Comparison:
    match = _ITEM.fullmatch(item)
    operator, text = (match["operator"], match["version"]) if match else ("", item)
    epoch, version = split_epoch(text)
    if any(character.isspace() for character in version):
        raise ValueError(f"{item!r}: comparisons in a version range have commas between them")
    if wildcard := _WILDCARD.fullmatch(version):
        return replace(_prefix(operator, wildcard["numbers"], item), epoch=epoch)
    written = _version(version, item)
    return _Comparison(_interval(operator, written, item), written, operator not in {"<", "!="}, epoch)


def _prefix(operator: str, numbers: str | None, item: str) -> _Comparison:
    """The comparison in `1.29.*`, `!=1.29.*` or `*`."""
    if operator not in {"", "=", "==", "!="} or (operator == "!=" and numbers is None):
        raise ValueError(f"{item!r}: a * does not go with {operator}")
    if numbers is None:
        return _Comparison(_Interval(), None, wants=True)
    written = _version(numbers, item)
    if written.is_prerelease:
        raise ValueError(f"{item!r}: a * stands for numbers, not behind a pre-release")
    return _Comparison(_beginning(written.release, negated=operator == "!="), written, wants=True)


def _version(text: str, item: str) -> Version:
    tag = read_tag(text.replace("+", "-")) or read_file_version(text)
    if tag is None or not _SUFFIX.fullmatch(tag.build or "-"):
        raise ValueError(f"{text!r} is no version; it looks like 1.29, v1.29.3 or 1.30.0-rc1")
    if suffix := tag.suffix or tag.build:
        plain = item.removesuffix(text) + text.removesuffix(suffix).rstrip("-_.+~^")
        raise ValueError(_SUFFIXED.format(item=item, suffix=suffix, plain=plain))
    return tag.version


def _interval(operator: str, version: Version, item: str) -> _Interval:
    match operator:
        case "":
            return _exactly(version) if version.is_prerelease else _beginning(version.release)
        case "=" | "==" | "!=":
            return _exactly(version, negated=operator == "!=")
        case ">=" | ">":
            return _Interval(low=version, with_low=operator == ">=")
        case "<=" | "<":
            return _Interval(high=version, with_high=True) if operator == "<=" else _Interval(high=_first_of(version))
        case _:
            return _Interval(version, _after(_kept_numbers(operator, version.release, item)))


def _kept_numbers(operator: str, release: tuple[int, ...], item: str) -> tuple[int, ...]:
    """The first numbers of a release, which these operators keep."""
    match operator:
        case "~=" if len(release) > 1:
            return release[:-1]
        case "~=":
            raise ValueError(f"{item!r}: ~= needs two numbers or more, such as ~=1.29")
        case "~":
            return release[:2]
        case "^":
            zeros = next((place for place, number in enumerate(release) if number), len(release) - 1)
            return release[: zeros + 1]
        case _:
            raise ValueError(f"{item!r}: {operator} is no comparison; known are {_KNOWN}")


def _exactly(version: Version, *, negated: bool = False) -> _Interval:
    return _Interval(version, version, with_high=True, negated=negated)


def _beginning(release: Sequence[int], *, negated: bool = False) -> _Interval:
    low = version_of(".".join(map(str, release)) + ".dev0")
    return _Interval(low, _after(release), negated=negated)


def _after(release: Sequence[int]) -> Version:
    """The lowest version above all that begin like this."""
    return version_of(".".join(map(str, [*release[:-1], release[-1] + 1])) + ".dev0")


def _first_of(version: Version) -> Version:
    """The lowest pre-release of a release: what is below 1.30 is below 1.30.0-alpha, too."""
    return version if version.is_prerelease else version_of(f"{version.public}.dev0")


def _without_epoch(version: Version) -> Version:
    return version_of(str(version).partition("!")[2]) if version.epoch else version


def _release(version: Version) -> tuple[int, ...]:
    """The numbers without zeros at the end: 1.30 and 1.30.0 are one release."""
    numbers = version.release
    while len(numbers) > 1 and not numbers[-1]:
        numbers = numbers[:-1]
    return numbers
