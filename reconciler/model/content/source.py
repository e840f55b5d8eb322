"""Where an extension's content comes from: skopeo's transports (containers-transports(5)), files, and the web."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from contextlib import suppress
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from reconciler.dataclass import dataclass
from reconciler.errors import HIDDEN, quoted, redacted
from reconciler.model.content.reference import TAG, parse_reference, split_tag

if TYPE_CHECKING:
    from collections.abc import Iterable

DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_DIGEST_IN_REFERENCE = re.compile(r"@(?P<digest>[^@/]*)$")
_LISTED = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}(?:@[A-Za-z0-9_][A-Za-z0-9._+-]{0,127})?")


class Transport(StrEnum):
    """The ways to content, as sources begin."""

    DOCKER = "docker"
    OCI = "oci"
    OCI_ARCHIVE = "oci-archive"
    DOCKER_ARCHIVE = "docker-archive"
    DIR = "dir"
    CATALOG = "catalog"
    HTTPS = "https"
    HTTP = "http"
    FILE = "file"

    @property
    def is_skopeos(self) -> bool:
        """Whether it leads to a container image, which skopeo fetches."""
        return self not in {*_WEB, Transport.FILE}


_WEB: Final = frozenset({Transport.HTTPS, Transport.HTTP})
_REMOTE: Final = _WEB | {Transport.DOCKER, Transport.CATALOG}
_LOCAL: Final = {str(item): item for item in Transport if item.is_skopeos and item not in _REMOTE}
_KNOWN: Final = (
    "docker://REF, container://REF, https://HOST/FILE, file:///PATH, "
    "oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, dir:DIR or catalog:NAME[@VERSION]"
)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the content of an extension is."""

    transport: Transport
    reference: str  # for a registry without its digest, if it names one; for the web the whole URL
    digest: str | None = None  # the digest a registry reference was pinned to

    @property
    def is_remote(self) -> bool:
        return self.transport in _REMOTE

    @property
    def is_web(self) -> bool:
        """Whether it is a URL, which may have secrets."""
        return self.transport in _WEB

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory on a web server, which takes `match` to lead to one of its files."""
        return self.is_web and urlsplit(self.reference).path.endswith("/")

    def file_in(self, name: str) -> Source:
        """A file of this directory."""
        if not self.is_web:
            return replace(self, reference=f"{self.reference}/{name}")
        parts = urlsplit(self.reference)
        return replace(self, reference=urlunsplit(parts._replace(path=parts.path + quote(name))))

    @property
    def tag(self) -> str | None:
        """The tag a registry reference names, or the version of an extension in a catalog."""
        if self.transport is Transport.CATALOG:
            return self.reference.partition("@")[2] or None
        tag = split_tag(self.reference)[1] if self.transport is Transport.DOCKER else None
        return tag if tag and TAG.fullmatch(tag) else None

    @property
    def text(self) -> str:
        """The source for messages and records, without a URL's secrets."""
        if self.is_web:
            return shown_url(self.reference)
        return f"file://{self.reference}" if self.transport is Transport.FILE else self.argument()

    @property
    def key(self) -> str:
        """The source in the keys of records: as its text, with a digest in place of the query that is not shown."""
        return url_key(self.reference) if self.is_web else self.text

    def argument(self, digest: str | None = None) -> str:
        """The image as skopeo's argument; of a registry by a digest alone, as skopeo refuses a tag beside one."""
        if self.transport is not Transport.DOCKER:
            return f"{self.transport}:{self.reference}"
        wanted = digest or self.digest
        if wanted is None:
            return f"docker://{self.reference}"
        return f"docker://{split_tag(self.reference)[0]}@{wanted}"

    def with_tag(self, tag: str) -> Source:
        """Another image of the same repository (registries only)."""
        return replace(self, reference=f"{split_tag(self.reference)[0]}:{tag}", digest=None)


def parse_source(text: str) -> Source:
    source = parse_source_or_directory(text)
    if source.is_directory:
        known = "it looks like https://host.example/file.raw, or is a directory and goes with match:"
        raise ValueError(f"{quoted(text)} names no file; {known}")
    return source


def parse_source_or_directory(text: str) -> Source:
    """A source, or a directory of releases on a web server, `https://HOST/DIR/`."""
    refuse_blanks(text, "a source")
    scheme, separator, rest = text.partition("://")
    if not separator:
        return _parse_local(text)
    match scheme.lower():
        case "https" | "http":
            return _parse_web(scheme.lower(), text)
        case "file":
            return _parse_file(rest)
        case "docker" | "container":
            return _parse_reference(rest)
        case _:
            raise ValueError(f"unknown scheme {scheme}://; known are {_KNOWN}")


def _parse_reference(rest: str) -> Source:
    pin = _DIGEST_IN_REFERENCE.search(rest)
    reference = rest[: pin.start()] if pin else rest
    digest = parse_digest(pin["digest"]) if pin else None
    parse_reference(reference)
    return Source(Transport.DOCKER, reference, digest)


def _parse_web(scheme: str, text: str) -> Source:
    """The scheme in lower case; everything behind it stays as it is, since a server may mean anything by it."""
    try:
        parts = urlsplit(text)
        if not parts.hostname or parts.port == 0:
            raise ValueError  # noqa: TRY301 - as urlsplit and its port say it of others
    except ValueError:
        raise ValueError(f"{quoted(text)} is no URL; it looks like https://host.example/file.raw") from None
    if not parts.path:
        raise ValueError(f"{quoted(text)} names no file; it looks like https://host.example/file.raw")
    return Source(Transport(scheme), urlunsplit(parts._replace(scheme=scheme, fragment="")))


def _parse_file(rest: str) -> Source:
    if not rest.startswith("/"):
        raise ValueError(
            f"file:// needs an absolute path and no host, as in file:///srv/extension.raw, not {quoted(rest)}"
        )
    path = unquote(rest)
    if not path.isprintable() or path.rstrip("/") == "":
        raise ValueError(f"file://{rest} names no file or directory")
    return Source(Transport.FILE, path.rstrip("/"))


def _meant_by(text: str) -> str:
    """What is to be written in place of something without a transport."""
    if text.startswith("/"):
        return "file:// before it"
    with suppress(ValueError):
        parse_reference(text)
        return "docker:// before it" if "/" in text else _KNOWN
    return _KNOWN


def _parse_local(text: str) -> Source:
    scheme, separator, path = text.partition(":")
    if scheme.lower() == Transport.CATALOG:
        if not _LISTED.fullmatch(path):
            raise ValueError(
                f"{quoted(text)} is no name in a catalog; it looks like catalog:fwupd or catalog:fwupd@2.1.7"
            )
        return Source(Transport.CATALOG, path)
    transport = _LOCAL.get(scheme.lower())
    if not separator or transport is None:
        raise ValueError(f"{quoted(text)} names no transport; write {_meant_by(text)}")
    if not path.startswith("/"):
        raise ValueError(f"{transport}: needs an absolute path, not {quoted(path)}")
    return Source(transport, path)


def parse_digest(text: str) -> str:
    if not DIGEST.fullmatch(text):
        raise ValueError(f"{text!r} is no digest; it looks like sha256: and 64 hexadecimal digits")
    return text


def refuse_blanks(text: str, what: str) -> None:
    if any(character.isspace() or not character.isprintable() for character in text):
        raise ValueError(f"{what} has no white space or control characters")


def secrets_of(url: str) -> frozenset[str]:
    """What of a URL is in no output: user, password, the query and its values, as they are and decoded."""
    rest, _, query = url.partition("://")[2].partition("#")[0].partition("?")
    login = rest.partition("/")[0].rpartition("@")[0]
    values = (it.partition("=")[2] or it for it in query.split("&"))
    found = {login, *login.split(":", 1), query, *values}
    found |= {unquote(it) for it in found}
    return frozenset(found | {b64encode(unquote(login).encode()).decode()}) - {""}


def without_secrets(secrets: Iterable[str], said: str) -> str:
    """What a server said; nothing of it, where it repeats what it was asked with."""
    return HIDDEN if any(it.lower() in said.lower() for it in secrets) else said


def shown_url(url: str) -> str:
    """A URL for messages, records and logs: without what may be a secret."""
    return redacted(url)


def url_key(url: str) -> str:
    """A URL in the keys of records: another query is another file, other credentials lead to the same."""
    query = urlsplit(url).query
    return redacted(url) + (f" {hashlib.sha256(query.encode()).hexdigest()[:16]}" if query else "")
