"""Placeholders in sources and version ranges, `{VERSION_ID}`: filled from os-release, so each OS takes its own image.

The configuration is read without a host, so there a 1 stands for each. What a host's os-release gives is filled in
later, and read anew as if the user had written it.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid
from reconciler.model.content.filepattern import in_placeholders, parse_pattern
from reconciler.model.content.ociread import platform_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.model.content.filepattern import Pattern
    from reconciler.model.fit.release import Host

T = TypeVar("T")

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{(?P<name>[A-Za-z0-9_]+)\}|[{}]")
# One word: no separator of paths or references, and no `..`.
_VALUE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+~-]{0,127}")
_STAND_IN: Final = "1"  # a word, a number, a version

# The fields of os-release(5) that say which OS this is.
_FIELDS: Final = (
    "ID",
    "VERSION_ID",
    "VERSION_CODENAME",
    "VARIANT_ID",
    "BUILD_ID",
    "IMAGE_ID",
    "IMAGE_VERSION",
    "SYSEXT_LEVEL",
    "CONFEXT_LEVEL",
    "PLATFORM_ID",
)
_VENDORS: Final = "KAIROS_"  # fields that Kairos adds to os-release
_MACHINE: Final[Mapping[str, Callable[[Host], str]]] = {
    "ARCH": lambda host: platform_of(host.machine).architecture,  # as container images say it: amd64
    "ARCHITECTURE": lambda host: host.architecture,  # as release files say it: x86-64
    "MACHINE": lambda host: host.machine,  # as uname -m says it: x86_64
}
_DEFAULTS: Final = {"ID": "linux"}  # of os-release(5)
_KNOWN: Final = (*_FIELDS, *_MACHINE)


@dataclass(frozen=True, slots=True)
class Template(Generic[T]):
    """A text that may have placeholders, and what it means with a 1 for each of them."""

    text: str
    value: T
    parse: Callable[[str], T]

    @property
    def is_open(self) -> bool:
        return "{" in self.text or "}" in self.text

    def on(self, host: Host) -> Template[T]:
        """The same on a host, as if the user had written it for that one; ValueError if what it has does not fit."""
        if not self.is_open:
            return self
        text = _fill(self.text, lambda name: _value_on(name, host))
        return replace(self, text=text, value=self.parse(text))


def read_template(parse: Callable[[str], T], text: str) -> Template[T]:
    """Read a text by the rules that hold whatever the host is."""
    return Template(text, parse(_fill(text, lambda _: _STAND_IN)), parse)


def read_pattern(text: str) -> Template[Pattern]:
    """A pattern of `match`, in which systemd's specifiers may stand for placeholders."""
    return read_template(parse_pattern, in_placeholders(text))


def _value_on(name: str, host: Host) -> str:
    value = _MACHINE[name](host) if name in _MACHINE else host.os_release.get(name, _DEFAULTS.get(name, ""))
    if not value:
        hint = "leave the placeholder out for hosts like this one, or add the field to os-release"
        raise Invalid(
            f"this host's os-release has no {name}, which {{{name}}} stands for", hint, code="config.placeholder"
        )
    if not _VALUE.fullmatch(value):
        raise Invalid(
            f"{name}={value!r} in this host's os-release is no plain word",
            "write it out in source:",
            code="config.placeholder",
        )
    return value


def _fill(text: str, value_of: Callable[[str], str]) -> str:
    """The text with what `value_of` gives for each placeholder."""
    return _TOKEN.sub(lambda token: _substitute(token, value_of), text)


def _substitute(token: re.Match[str], value_of: Callable[[str], str]) -> str:
    name: str | None = token["name"]
    if name is None:
        if len(token[0]) == 1:
            raise ValueError(f"a single {token[0]} means nothing; a brace itself is written {token[0] * 2}")
        return token[0][0]
    if name not in _KNOWN and not name.startswith(_VENDORS):
        close = difflib.get_close_matches(name.upper(), _KNOWN, n=1)
        known = f"did you mean {{{close[0]}}}?" if close else f"known are {', '.join(_KNOWN)}"
        raise ValueError(f"unknown placeholder {{{name}}}; {known}")
    return value_of(name)
