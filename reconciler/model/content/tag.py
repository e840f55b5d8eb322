"""Tags of container images, and versions in file names, read as versions.

A tag is a version if it is `v`, or not, then numbers with dots between them, then a pre-release, or not, then a
suffix, or not: `v1.30.0-rc1-k3s1`. A tag cannot have the `+` of semantic versions, so distributions write `-`, `_` or
`.` before the build they mean, and others before the name of a variant (`1.2.3-alpine`, `1.2.3-amd64`). Nothing tells
the two apart, nor from a commit or from semver's numeric pre-releases (`1.2.3-1`); so all of that is a suffix, and
only the words below make a pre-release.

In a directory of releases the pattern says where in a file's name the version stands, so all of that is the version:
with an epoch and a revision as packages have them (`5+29.4.2-1~debian.13`, where `+` stands for `:`), with a build
(`v1.32.2+k3s1`), and with `~` for what comes before a release.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.model.content.reference import TAG

if TYPE_CHECKING:
    from collections.abc import Iterable

    from packaging.version import Version

_VERSION: Final = re.compile(r"(?P<v>[vV]?)(?P<numbers>[0-9]+(?:\.[0-9]+)*)(?P<rest>.*)")
# Words for pre-releases as PEP 440 ranks them: dev below alpha, below beta, below rc.
_RANKS: Final = {
    "dev": ".dev",
    "devel": ".dev",
    "snapshot": ".dev",
    "nightly": ".dev",
    "canary": ".dev",
    "alpha": "a",
    "a": "a",
    "beta": "b",
    "b": "b",
    "rc": "rc",
    "pre": "rc",
    "preview": "rc",
    "prerelease": "rc",
}
_WORDS: Final = "|".join(word for word in _RANKS if len(word) > 1)
# One letter is enough in 1.2.0b3 alone: in 1.2.0-b3 it might as well be a build.
_PRERELEASE: Final = re.compile(
    rf"(?:^(?P<letter>[ab])(?=[0-9])|(?:^|[-_.])(?P<word>{_WORDS}))[-_.]?(?P<number>[0-9]*)(?=[-_.]|$)",
    re.IGNORECASE,
)
_SEPARATORS: Final = "-_."
FILE_NAME_MAX: Final = 255  # bytes, for any file system

_EPOCH: Final = re.compile(r"(?P<epoch>[0-9]{1,3})(?::(?=[0-9])|\+(?=[0-9]+\.))(?P<rest>.*)")
_FILE_PRERELEASE: Final = re.compile(
    rf"(?:^(?P<letter>[ab])(?=[0-9])|(?:^|[-_.~])(?P<word>{_WORDS}|devel))[-_.]?(?P<number>[0-9]*)(?=[-_.+~^]|$)",
    re.IGNORECASE,
)
# Behind a `~`, these say for which distribution it is.
_EARLIER: Final = re.compile(r"~(?!debian|ubuntu|deb|bpo|el|fc)", re.IGNORECASE)

_Part = tuple[int, str]  # of a suffix: a number, or letters


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag that is a version."""

    text: str
    version: Version  # without the suffix
    suffix: str  # without the character before it; empty: none
    has_v: bool
    build: str | None = None  # of a version in a file's name, all behind the release; None: it is an image's tag

    @property
    def order(self) -> tuple[object, ...]:
        """Higher is more recent.

        Of one version, the higher suffix, numbers in it compared as numbers. Then, between spellings: the one with
        more numbers, since `1.29` beside `1.29.0` is a name that moves on; the one without `v`; the last one as text.
        """
        return self.version, _parts(self.build or self.suffix), len(self.version.release), not self.has_v, self.text


def version_of(text: str) -> Version:
    """A version in the words of PEP 440; packaging is loaded by nodes that compare any, which most do not."""
    from packaging.version import Version

    return Version(text)


def read_tag(text: str) -> Tag | None:
    match = _VERSION.fullmatch(text) if TAG.fullmatch(text) else None
    if match is None:
        return None
    rest = match["rest"]
    found = _PRERELEASE.search(rest)
    if rest and rest[0] not in _SEPARATORS and not (found and found.start() == 0):
        return None
    suffix = rest[: found.start()] + rest[found.end() :] if found else rest
    if suffix and not suffix[1:2].isalnum():
        return None
    return Tag(text, version_of(match["numbers"] + _prerelease(found)), suffix[1:], bool(match["v"]))


def read_tags(texts: Iterable[str]) -> list[Tag]:
    return [tag for tag in map(read_tag, texts) if tag]


def split_epoch(text: str) -> tuple[int | None, str]:
    """The epoch of a version, if it names one, and what follows."""
    match = _EPOCH.fullmatch(text)
    return (int(match["epoch"]), match["rest"]) if match else (None, text)


def read_file_version(text: str) -> Tag | None:
    """The version in the name of a file; None: it is none."""
    if len(text) > FILE_NAME_MAX:
        return None
    epoch, plain = split_epoch(text.removeprefix("v").removeprefix("V"))
    match = _VERSION.fullmatch(plain)
    if match is None or match["v"]:
        return None
    rest = match["rest"]
    found = _FILE_PRERELEASE.search(rest)
    word = _prerelease(found) or (".dev0" if _EARLIER.match(rest) else "")
    build = rest[: found.start()] + rest[found.end() :] if found else rest
    has_v = text[:1] in {"v", "V"}
    return Tag(text, version_of(f"{epoch or 0}!{match['numbers']}{word}"), "", has_v, build.lstrip("-_.+~^"))


def _prerelease(found: re.Match[str] | None) -> str:
    """A pre-release in the words of PEP 440."""
    if found is None:
        return ""
    return _RANKS[(found["letter"] or found["word"]).lower()] + (found["number"] or "0")


def _parts(suffix: str) -> tuple[_Part, ...]:
    """For comparison: k3s10 is above k3s9, and a number above letters, as in PEP 440."""
    return tuple(
        (int(part) + 1, "") if part.isdigit() else (0, part) for part in re.findall(r"[0-9]+|[a-z]+", suffix.lower())
    )
