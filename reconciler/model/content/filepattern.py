"""Patterns for the names of files in a directory of releases, as sysupdate.d(5) has them: `kubernetes-@v-%a.raw`.

`@v` stands for the version, other letters behind `@` for what livelayer passes over. `%a` stands for the
architecture, as systemd spells it or as others do; what else has a `%` is a field of os-release, and here as
everywhere in the configuration that is `{VERSION_ID}`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.dataclass import dataclass
from reconciler.model.content.tag import FILE_NAME_MAX

if TYPE_CHECKING:
    from reconciler.model.content.ociread import Platform

_TOKEN: Final = re.compile(r"(?P<sign>[@%])(?P<letter>.?)|(?P<literal>[^@%]+)", re.DOTALL)
# What a letter behind @ stands for (sysupdate.d(5), MATCH PATTERNS).
_WILDCARDS: Final = {
    "v": r"[A-Za-z0-9][A-Za-z0-9.,_+~^:-]*?",
    "u": r"[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}",
    "f": r"[0-9A-Fa-f]{1,16}",
    "h": r"[0-9A-Fa-f]{64}",
    "m": r"[0-7]{3,4}",
    **dict.fromkeys("agr", "[01]"),
    **dict.fromkeys("tsdl", "[0-9]{1,20}"),
}
# systemd's specifiers, and the fields of os-release(5) that they stand for.
_SPECIFIERS: Final = {
    "A": "IMAGE_VERSION",
    "B": "BUILD_ID",
    "M": "IMAGE_ID",
    "o": "ID",
    "w": "VERSION_ID",
    "W": "VARIANT_ID",
}
# By Go's name for it, how an architecture is written in file names: first as systemd does, which is preferred.
_SPELLINGS: Final = {
    "amd64": ("x86-64", "x86_64", "amd64"),
    "386": ("x86", "i386", "i686", "386"),
    "arm64": ("arm64", "aarch64"),
    "arm": ("arm", "armhf", "armv7l", "armv7", "armv6l", "armv6"),
    "ppc64le": ("ppc64-le", "ppc64le", "ppc64el"),
    "loong64": ("loongarch64", "loong64"),
    "mips64le": ("mips64-le", "mips64le", "mips64el"),
    "riscv64": ("riscv64",),
    "s390x": ("s390x",),
}
_ARCHITECTURE: Final = re.compile(
    rf".*?[-_.](?P<name>{'|'.join(map(re.escape, chain.from_iterable(_SPELLINGS.values())))})"
)
_LOOKS_LIKE: Final = 'it looks like "NAME-@v-%a.raw"'


class Fit(NamedTuple):
    """What a pattern reads from a file's name."""

    version: str
    spelling: int  # of the architecture; less is preferred


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern without the fields of os-release."""

    text: str
    tokens: tuple[tuple[str, str], ...]  # `@` and a letter, `%` and `a`, or nothing and the literal itself

    def fit(self, name: str, platform: Platform) -> Fit | None:
        """What stands in a name for a platform; None: it is another file's."""
        sign, beginning = self.tokens[0]
        if len(name) > FILE_NAME_MAX or not (sign or name.startswith(beginning)):
            return None
        spellings = spellings_of(platform)
        match = _expression_of(self.tokens, spellings).fullmatch(name)
        if match is None:
            return None
        architecture = match.groupdict().get("a")
        return Fit(match["v"], spellings.index(architecture) if architecture else 0)


@lru_cache(256)  # a list has thousands of names
def _expression_of(tokens: tuple[tuple[str, str], ...], spellings: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("".join(_expression(sign, rest, spellings) for sign, rest in tokens))


def _expression(sign: str, rest: str, spellings: tuple[str, ...]) -> str:
    match sign:
        case "@" if rest == "v":
            return f"(?P<v>{_WILDCARDS[rest]})"
        case "@":
            return f"(?:{_WILDCARDS[rest]})"
        case "%":
            return f"(?P<a>{'|'.join(map(re.escape, spellings))})"
        case _:
            return re.escape(rest)


ARCHITECTURES: Final = tuple(_SPELLINGS)  # by Go's names


def spellings_of(platform: Platform) -> tuple[str, ...]:
    return _SPELLINGS.get(platform.architecture, (platform.architecture,))


def architecture_in(version: str) -> str | None:
    """The architecture that a version ends with, if somebody's pattern took one for a part of it."""
    match = _ARCHITECTURE.fullmatch(version)
    return match["name"] if match else None


def in_placeholders(text: str) -> str:
    """A pattern with placeholders for what systemd's specifiers take from os-release."""

    def placeholder(token: re.Match[str]) -> str:
        field = _SPECIFIERS.get(token["letter"] or "") if token["sign"] == "%" else None
        return f"{{{field}}}" if field else token[0]

    return _TOKEN.sub(placeholder, text)


def parse_pattern(text: str) -> Pattern:
    if "/" in text or not text.isprintable():
        raise ValueError(f"{text!r} is for the name of a file alone, without a directory and control characters")
    tokens = tuple(map(_token, _TOKEN.finditer(text)))
    letters = [rest for sign, rest in tokens if sign == "@"]
    if "v" not in letters:
        raise ValueError(f"{text!r} has no @v, which stands for the version; {_LOOKS_LIKE}")
    if repeated := next((it for it in letters if letters.count(it) > 1), None):
        raise ValueError(f"{text!r} has @{repeated} twice")
    if sum(sign == "%" for sign, _ in tokens) > 1:
        raise ValueError(f"{text!r} has %a twice")
    if any(one[0] == "@" == other[0] for one, other in pairwise(tokens)):
        raise ValueError(f"{text!r}: nothing says where one @ ends and the next begins; put a character between them")
    return Pattern(text, tokens)


def _token(token: re.Match[str]) -> tuple[str, str]:
    sign, letter = token["sign"], token["letter"]
    if sign is None:
        return "", token["literal"]
    if letter == sign:
        return "", sign
    known = set(_WILDCARDS) if sign == "@" else {"a"}
    if letter not in known:
        there = ", ".join(f"{sign}{it}" for it in sorted(known | (set(_SPECIFIERS) if sign == "%" else set())))
        raise ValueError(f"{sign}{letter} means nothing here; known are {there}; {sign}{sign} is the sign itself")
    return sign, letter
