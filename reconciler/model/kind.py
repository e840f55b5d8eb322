"""The two kinds of extensions systemd knows, and what tells them apart (systemd-sysext(8), os-release(5))."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NamedTuple

from reconciler.dataclass import dataclass

RELEASE_PREFIX: Final = "extension-release."  # of a release file's name; the extension's follows
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")  # of an extension
RESERVED_ENDINGS: Final = (".raw", ".v")  # to systemd an image file, and a directory of versions
# To systemd a larger number is a higher layer, and a number is above letters. These are above all others.
RESERVED_BEGINNING: Final = re.compile(r"0*[1-9][0-9]{15}")
UNIT: Final = re.compile(r"[A-Za-z0-9:_.\\@-]+\.(service|socket|target|timer|path|mount|automount|slice)")


def is_name(text: str) -> bool:
    is_reserved = text.endswith(RESERVED_ENDINGS) or RESERVED_BEGINNING.match(text)
    return bool(NAME.fullmatch(text)) and not is_reserved


def template_of(unit: str) -> str | None:
    """The template of an instance; None: it is none (systemd.unit(5))."""
    stem, at, rest = unit.partition("@")
    return f"{stem}@.{rest.rpartition('.')[2]}" if at else None


class Kind(StrEnum):
    """Whether an extension is layered onto /usr and /opt, or onto /etc."""

    SYSEXT = "sysext"
    CONFEXT = "confext"

    @property
    def traits(self) -> Traits:
        return _TRAITS[self]

    @property
    def carries(self) -> str:
        """What an extension of this kind is for, as a sentence for messages."""
        noun = "system extension" if self is Kind.SYSEXT else "configuration extension"
        return f"a {noun} carries {' and '.join(f'/{top}' for top in sorted(self.traits.tops, reverse=True))} only"


class ExtensionId(NamedTuple):
    """What an extension is called: systemd keeps the names of the two kinds apart."""

    name: str
    kind: Kind = Kind.SYSEXT

    def __str__(self) -> str:
        return self.name


MODULE_INDEX: Final = ExtensionId("9999999999999999-modules")
"""The extension that livelayer itself makes: the indexes of the kernel modules of all others, on top of them."""


@dataclass(frozen=True, slots=True)
class Traits:
    """The names that belong to a kind. Paths are relative to the content's root."""

    tops: frozenset[str]  # what the content may carry at its top
    releases: str  # the directory of its extension-release files
    forbidden: str | None  # a file that makes systemd refuse every extension
    scope: str  # the release field that says where it may be used
    level: str  # the release field that stands for a range of OS versions
    units: str  # the directory of unit files it may bring
    more_units: tuple[str, ...]  # others, which systemd looks at as well
    since: int  # the first version of systemd that knows it

    @property
    def unit_directories(self) -> tuple[str, ...]:
        return self.units, *self.more_units


_TRAITS: Final = {
    Kind.SYSEXT: Traits(
        tops=frozenset({"usr", "opt"}),
        releases="usr/lib/extension-release.d",
        forbidden="usr/lib/os-release",
        scope="SYSEXT_SCOPE",
        level="SYSEXT_LEVEL",
        units="usr/lib/systemd/system",
        more_units=("usr/local/lib/systemd/system",),
        since=248,
    ),
    Kind.CONFEXT: Traits(
        tops=frozenset({"etc"}),
        releases="etc/extension-release.d",
        forbidden=None,
        scope="CONFEXT_SCOPE",
        level="CONFEXT_LEVEL",
        units="etc/systemd/system",
        more_units=(),
        since=254,
    ),
}
