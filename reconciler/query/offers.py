"""What the catalogs and directories of releases of a configuration have, and others that are named."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.errors import Invalid, ReconcilerError
from reconciler.fetch.answers import result_of
from reconciler.fetch.resolve import Lookups, open_resolver
from reconciler.fetch.transports.releases import Releases
from reconciler.host.sources.catalogs import Catalogs
from reconciler.model.config.part import Part
from reconciler.model.content.ociread import platform_of
from reconciler.model.content.offers import offers_in_catalog, offers_in_files
from reconciler.model.content.source import Transport, shown_url

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.fetch.transport import Access
    from reconciler.model.config.desired import DesiredState
    from reconciler.model.content.offers import Offer
    from reconciler.model.content.source import Source
    from reconciler.model.fit.release import Host
    from reconciler.paths import Paths

PLACES: Final = "name https://HOST/DIR/, https://HOST/releases.json or file:///PATH"


class Offers(NamedTuple):
    """What there is, and what could not be asked."""

    found: tuple[Offer, ...]
    errors: tuple[ReconcilerError, ...]


def gather(paths: Paths, host: Host, desired: DesiredState, sources: Sequence[Source]) -> Offers:
    """What these places have; if there are none, those of the configuration."""
    access = open_resolver(paths, host, desired, Lookups.ALL).access
    catalogs = [_url(it) for it in sources if not _is_directory(it, paths)]
    parts = [Part(it.text, it, signed=False) for it in sources if _is_directory(it, paths)]
    if not sources:
        catalogs = list(desired.settings.catalogs)
        parts = list({(it.source, it.signed): it for it in _followed(desired)}.values())
    if not (catalogs or parts):
        what = "the configuration names neither catalogs nor directories of releases"
        raise Invalid(what, PLACES)
    asked = [result_of(partial(_of_catalog, url, access)) for url in catalogs]
    asked += [result_of(partial(_of_directory, part, access)) for part in parts]
    return Offers(
        tuple(it for answer in asked if not isinstance(answer, ReconcilerError) for it in answer),
        tuple(it for it in asked if isinstance(it, ReconcilerError)),
    )


def _url(source: Source) -> str:
    if not (source.is_web or source.transport is Transport.FILE):
        raise Invalid(f"{source.text} is neither a catalog nor a directory of releases", PLACES)
    return source.reference if source.is_web else source.text


def _followed(desired: DesiredState) -> Iterable[Part]:
    return (part for wanted in desired.extensions for part in wanted.parts if part.match and not part.unresolved)


def _is_directory(source: Source, paths: Paths) -> bool:
    is_local = source.transport is Transport.FILE
    return source.is_directory or (is_local and paths.under(source.reference).is_dir())


def _of_catalog(url: str, access: Access) -> list[Offer]:
    catalog = Catalogs(access.paths, (url,), access.transfers).read(url)
    return list(offers_in_catalog(catalog, shown_url(url), platform_of(access.machine)))


def _of_directory(part: Part, access: Access) -> list[Offer]:
    return offers_in_files(Releases(access).listed(part), part.text, platform_of(access.machine))
