"""References to images of registries: the grammar of distribution/reference, and Docker's rule of what is a host."""

from __future__ import annotations

import re
from typing import Final

from reconciler.dataclass import dataclass
from reconciler.errors import quoted

TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"(?:\[[0-9A-Fa-f:.]+\]|{_LABEL}(?:\.{_LABEL})*)(?::(?P<port>[0-9]{{1,5}}))?")
_COMPONENT: Final = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*")
_NAME_MAX: Final = 255  # characters of host and path
_PORT_MAX: Final = 65535


@dataclass(frozen=True, slots=True)
class Reference:
    """An image of a registry by name, and maybe by tag."""

    host: str | None  # None: Docker's own registry, as a name without a host means
    path: tuple[str, ...]
    tag: str | None

    def __str__(self) -> str:
        name = "/".join((self.host, *self.path) if self.host else self.path)
        return f"{name}:{self.tag}" if self.tag else name


def parse_reference(text: str) -> Reference:
    """What a reference without a digest says; ValueError with a sentence for what no registry can have."""
    name, tag = split_tag(text)
    if tag is not None and not TAG.fullmatch(tag):
        raise _unlike(text, f"{quoted(tag)} is no tag; a tag has letters, digits and _ . - only, 128 at most")
    if len(name) > _NAME_MAX:
        raise _unlike(text, f"a name has {_NAME_MAX} characters at most")
    host, path = _split_host(name)
    if host is not None and not _is_host(host):
        raise _unlike(text, f"{quoted(host)} is no registry; it looks like registry.example or registry.example:5000")
    for component in path:
        if not _COMPONENT.fullmatch(component):
            raise _unlike(text, _why_no_component(component))
    return Reference(host, path, tag)


def split_tag(reference: str) -> tuple[str, str | None]:
    """The name in a registry's reference, and its tag; a colon before the last slash is a port's."""
    directory, slash, last = reference.rpartition("/")
    name, colon, tag = last.partition(":")
    return f"{directory}{slash}{name}", tag if colon else None


def _unlike(text: str, why: str) -> ValueError:
    return ValueError(f"{quoted(text)} is no image reference: {why}")


def _split_host(name: str) -> tuple[str | None, tuple[str, ...]]:
    """What stands before a slash and has a dot or a colon, or is localhost, is a host."""
    first, *rest = name.split("/")
    if rest and (first == "localhost" or not {".", ":"}.isdisjoint(first)):
        return first, tuple(rest)
    return None, (first, *rest)


def _is_host(text: str) -> bool:
    match = _HOST.fullmatch(text)
    return match is not None and 0 < int(match["port"] or 1) <= _PORT_MAX


def _why_no_component(component: str) -> str:
    if not component:
        return "a name is missing; it looks like registry.example/name:tag"
    if _COMPONENT.fullmatch(component.lower()):
        return f"names of repositories are in lower case, so {quoted(component.lower())}, not {quoted(component)}"
    return (
        f"{quoted(component)} is no name of a repository; it has lower-case letters and digits, "
        "and between them . or _ or __ or any number of -"
    )
