"""What catalogs and directories of releases have: extensions by name, in which versions, and for which machines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.dataclass import dataclass
from reconciler.model.content.filepattern import architecture_in, spellings_of
from reconciler.model.content.tag import FILE_NAME_MAX, Tag, read_file_version
from reconciler.model.content.version import parse_range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.model.content.catalog import Catalog
    from reconciler.model.content.ociread import Platform

_FILE: Final = re.compile(
    r"(?P<stem>.+?)(?:\.(?:sysext|confext))?\.(?:raw|img|tar|tgz|squashfs|erofs)(?:\.(?:gz|xz|zst|bz2))?"
)
_BEGINNING: Final = re.compile(r"[-_](?=[vV]?[0-9])")  # of a version


@dataclass(frozen=True, slots=True)
class Offer:
    """An extension that can be had from one place."""

    name: str
    newest: str | None  # for this machine, without pre-releases; None: there is none
    versions: tuple[str, ...]  # the newest first
    architectures: tuple[str, ...]  # none: its files do not say
    source: str  # the place, as it is shown


class _Named(NamedTuple):
    """What a file's name seems to say."""

    name: str
    version: Tag
    architecture: str | None


def offers_in_files(names: Iterable[str], source: str, platform: Platform) -> list[Offer]:
    """By the names of files, as they are customary: NAME-VERSION-ARCHITECTURE.raw."""
    found: dict[str, list[_Named]] = {}
    for it in filter(None, map(_named, names)):
        found.setdefault(it.name, []).append(it)
    return [_offer(name, items, source, spellings_of(platform)) for name, items in sorted(found.items())]


def _named(file: str) -> _Named | None:
    match = _FILE.fullmatch(file) if len(file) <= FILE_NAME_MAX else None
    if match is None:
        return None
    architecture = architecture_in(match["stem"])
    stem = match["stem"].removesuffix(architecture)[:-1] if architecture else match["stem"]
    readings = ((stem[: it.start()], read_file_version(stem[it.end() :])) for it in _BEGINNING.finditer(stem))
    return next((_Named(name, version, architecture) for name, version in readings if name and version), None)


def _offer(name: str, items: list[_Named], source: str, ours: tuple[str, ...]) -> Offer:
    newest = parse_range("*").best([it.version for it in items if it.architecture in {None, *ours}])
    tags = sorted({it.version.text: it.version for it in items}.values(), key=lambda it: it.order, reverse=True)
    architectures = sorted({it.architecture for it in items if it.architecture})
    return Offer(name, newest.text if newest else None, tuple(it.text for it in tags), tuple(architectures), source)


def offers_in_catalog(catalog: Catalog, source: str, platform: Platform) -> Iterator[Offer]:
    for name, layer in sorted(catalog.layers.items()):
        architectures = sorted({architecture for images in layer.tags.values() for architecture in images})
        newest = layer.latest if platform.architecture in layer.tags.get(layer.latest, {}) else None
        yield Offer(name, newest, tuple(_newest_first(layer.tags)), tuple(architectures), source)


def _newest_first(tags: Iterable[str]) -> list[str]:
    """What is no version comes last."""
    read = [(read_file_version(it), it) for it in tags]
    versions = sorted(((version.order, it) for version, it in read if version), reverse=True)
    return [*(it for _, it in versions), *(it for version, it in read if version is None)]
