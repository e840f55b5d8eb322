"""Catalogs of extensions from the web or from this node, each read once in a run; copies for when the web is away."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import field, replace
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, ReconcilerError, Unavailable
from reconciler.host.base.bounded import read_bounded
from reconciler.host.base.durable import write_atomically
from reconciler.host.base.ownership import refuse_foreign_hands
from reconciler.host.sources.web import PATIENCE, read_small
from reconciler.model.content.catalog import parse_catalog
from reconciler.model.content.limits import TRANSFERS
from reconciler.model.content.source import Transport, parse_source, shown_url

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.content.catalog import Catalog, CatalogImage, Selector
    from reconciler.model.content.limits import Transfers
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

_SIZE_MAX: Final = 16 << 20  # bytes; a thousand extensions with a hundred versions each have fewer


@dataclass(frozen=True, slots=True)
class Catalogs:
    """The catalogs that a configuration names, in the order in which they are asked."""

    paths: Paths
    urls: tuple[str, ...]
    transfers: Transfers = TRANSFERS
    _read: dict[str, bytes | ReconcilerError] = field(default_factory=dict)
    _parsed: dict[str, Catalog] = field(default_factory=dict)

    def find(self, selector: Selector) -> CatalogImage:
        """The image that the first catalog which has one gives for a selector."""
        reasons: list[str] = []
        unread: list[Unavailable] = []
        for url in self.urls:
            try:
                return self.read(url).find(selector)
            except ReconcilerError as error:
                unread += [error] if isinstance(error, Unavailable) else []
                reason = error.message.removeprefix(shown_url(url)).removeprefix(": ")
                reasons.append(f"{shown_url(url)}: {reason}")
        words = f"{selector.name} is in no catalog: {'; '.join(reasons)}"
        hint = "check the name, or settings.catalogs"
        if unread:
            wait = max(it.retry_after or 0.0 for it in unread) or None
            raise Unavailable(words, hint, retry_after=wait, code="catalog.unavailable")
        raise Invalid(words, hint, code="catalog.unavailable")

    def remember(self) -> None:
        for url, content in self._read.items():
            if isinstance(content, bytes) and content != _kept(self._copy(url)):
                write_atomically(self._copy(url), content)

    def read(self, url: str) -> Catalog:
        if url not in self._parsed:
            self._parsed[url] = parse_catalog(self._content(url))
        return self._parsed[url]

    def _content(self, url: str) -> bytes:
        if url not in self._read:
            try:
                self._read[url] = self._fetch(url)
            except ReconcilerError as error:
                self._read[url] = self._in_place_of(url, error)
        found = self._read[url]
        if isinstance(found, bytes):
            return found
        raise found

    def _in_place_of(self, url: str, error: ReconcilerError) -> bytes | ReconcilerError:
        kept = _kept(self._copy(url)) if isinstance(error, Unavailable) else None
        log.warning("%s; %s", error.message, "passed over" if kept is None else "taking the copy of an earlier run")
        return error if kept is None else kept

    def _fetch(self, url: str) -> bytes:
        source = parse_source(url)
        if source.transport is Transport.FILE:
            path = self.paths.under(source.reference)
            refuse_foreign_hands(self.paths.by_name(source.reference), self.paths.root)
            with Invalid.on_oserror(f"{path}: cannot be read", "check settings.catalogs"):
                return read_bounded(path, _SIZE_MAX)
        patience = replace(PATIENCE, rate=self.transfers.min_rate, total=self.transfers.timeout)
        return read_small(source.reference, _SIZE_MAX, patience)

    def _copy(self, url: str) -> Path:
        """Where the copy of a catalog is; its URL may have a password."""
        return self.paths.catalogs / f"{hashlib.sha256(url.encode()).hexdigest()}.json"


def _kept(copy: Path) -> bytes | None:
    try:
        return copy.read_bytes()
    except OSError:
        return None
