"""What Kairos's `install.extensions` and `extensions.catalogs` list, in the words of livelayer's own document.

An entry is a name in a catalog, `NAME@VERSION`, a map of `name` and `version`, or an image itself: `oci://REF` (also
`docker://` and `container://`), `https://HOST/FILE`, `file:` or an absolute path. An image itself has the name of its
file or repository, without `.sysext.raw` and the like; a version goes with names alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from reconciler.errors import Invalid, parsed, quoted
from reconciler.model.content.source import Source, Transport, parse_source, shown_url
from reconciler.model.content.version import parse_range
from reconciler.model.kind import Kind, is_name

if TYPE_CHECKING:
    from reconciler.model.config.merge import Tree

# The index that Kairos asks where a cloud-config names none.
DEFAULT_CATALOG: Final = "https://kairos-io.github.io/hadron-layers/releases.json"
_CATALOG: Final = "write https://HOST/releases.json"
_IMAGES: Final = frozenset({"oci", "docker", "container"})
_SCHEMES: Final = _IMAGES | {"file", "https", "http"}
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
_GAP: Final = re.compile(r"(?<=[^\s,<>=!~^])\s+(?=[<>=!~^])")  # between comparisons, for which Kairos needs no comma
_ENDINGS: Final = re.compile(r"(?P<name>.+?)(?:\.(?P<kind>sysext|confext))?(?:\.raw)?(?:\.(?:gz|xz|zst|bz2))?")


class NotTaken(Exception):
    """Kairos would take it, livelayer does not; the message says why."""


class Listed(NamedTuple):
    """An extension, as a map of livelayer's own document."""

    name: str
    tree: Tree


def read_entry(entry: Any) -> Listed:  # noqa: ANN401 - any YAML value
    """Understand an entry of `install.extensions`."""
    match entry:
        case str() if not entry.strip():
            raise Invalid("an extension has a name", "remove the empty entry")
        case str() if _scheme(entry.strip()):
            return _image(entry.strip())
        case str():
            name, at, version = entry.strip().partition("@")
            if at and not version:
                raise Invalid(f"{entry!r} names no version", "write NAME@VERSION, or NAME alone")
            return _listed(name, version)
        case {"name": str(name)} if entry.get("version") in {None, ""}:
            return read_entry(name)
        case {"name": str(name), "version": str()} if _scheme(name):
            raise Invalid(f"{name} is an image, so it takes no version", "remove version:")
        case {"name": str(name), "version": str(version)}:
            return _listed(name, version)
        case _:
            raise Invalid("is neither text nor a map of name and version, both texts", 'write version: ">=2.50,<3"')


def catalog_url(entry: Any) -> str:  # noqa: ANN401 - any YAML value
    """Understand an entry of `extensions.catalogs`."""
    if not isinstance(entry, str):
        raise Invalid("a catalog is a URL", _CATALOG)
    source = parsed(parse_source, entry.strip(), _CATALOG)
    if source.transport is Transport.HTTP:
        raise NotTaken(f"{source.text} is not encrypted, and a catalog decides what comes")
    if source.transport not in {Transport.HTTPS, Transport.FILE}:
        raise Invalid(f"{quoted(entry)} is no URL of a catalog", _CATALOG)
    return entry.strip()


def _scheme(text: str) -> str | None:
    """The scheme of an image itself; None: it is a name in a catalog."""
    if text.startswith("/"):
        return "file"
    scheme = text.partition(":")[0].lower()
    return scheme if ":" in text and scheme in _SCHEMES else None


def _listed(name: str, version: str) -> Listed:
    if not is_name(name):
        raise Invalid(
            f"{quoted(name)} is no name of an extension", "write NAME, NAME@VERSION, oci://REFERENCE or a URL"
        )
    if not version or _TAG.fullmatch(version):
        return Listed(name, {"source": f"catalog:{name}@{version}".rstrip("@"), "format": "auto"})
    span = _GAP.sub(", ", version.strip())
    try:
        parse_range(span)
    except ValueError as error:
        raise Invalid(f"{name}: {error}", "write comparisons with commas between them, such as >=2.50,<3") from None
    return Listed(name, {"source": f"catalog:{name}", "version": span, "format": "auto"})


def _image(text: str) -> Listed:
    source = parsed(parse_source, _as_source(text), "write oci://HOST/NAME:TAG, https://HOST/FILE or /PATH")
    if source.transport is Transport.HTTP:
        hint = "list it under livelayer: or in /etc/livelayer, with digest:"
        raise NotTaken(f"{shown_url(text)} needs a digest, since content can be changed on the way; {hint}")
    match = _ENDINGS.fullmatch(_file_name(source))
    if match is None or not is_name(match["name"]):
        raise Invalid(f"{source.text} has no file name that could be an extension's", "list it under livelayer:")
    kind = {"kind": match["kind"]} if match["kind"] == Kind.CONFEXT else {}
    return Listed(match["name"], {"source": _as_source(text), **kind, "format": "auto"})


def _as_source(text: str) -> str:
    """In livelayer's spelling; `oci:` is skopeo's word for a directory there."""
    if text.startswith("/"):
        return f"file://{quote(text)}"
    scheme, rest = text.partition(":")[0].lower(), text.partition(":")[2]
    if scheme in _IMAGES:
        return f"docker://{rest.removeprefix('//')}"
    return f"file://{rest.removeprefix('//')}" if scheme == "file" else text


def _file_name(source: Source) -> str:
    if source.transport is Transport.DOCKER:
        return source.reference.rpartition("/")[2].partition(":")[0]
    if source.transport is Transport.FILE:
        return source.reference.rpartition("/")[2]
    return unquote(urlsplit(source.reference).path).rpartition("/")[2]
