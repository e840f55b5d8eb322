"""Files from web servers: their digest is configured, or listed in a signed SHA256SUMS beside them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.fetch.content import content_of_file
from reconciler.host.base.blobs import blob_in
from reconciler.host.images.payload import payload_in
from reconciler.host.sources import download, sha256sums, web
from reconciler.host.sources.signedlists import SignedLists
from reconciler.model.content.format import assumed_payload
from reconciler.model.content.resolution import Resolution
from reconciler.model.content.sha256sums import file_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.fetch.content import Content
    from reconciler.fetch.transport import Access, Made, Opening
    from reconciler.model.config.part import Part
    from reconciler.model.content.format import Format, Payload


@dataclass(frozen=True, slots=True)
class Web:
    """`https://HOST/FILE`."""

    access: Access

    @property
    def _patience(self) -> web.Patience:
        return replace(web.PATIENCE, rate=self.access.transfers.min_rate, total=self.access.transfers.timeout)

    def look_up(self, part: Part, wanted: Format | None) -> Resolution:
        url = part.source.reference
        digest = part.pin or sha256sums.digest_in(self.listed(part), url)
        return Resolution(
            digest, digest, assumed_payload(wanted, part.source) if wanted else self._payload(url, digest)
        )

    def _payload(self, url: str, digest: str) -> Payload:
        """Of what is known already nothing is asked."""
        if known := self.access.payloads.get(digest):
            return known
        return self.access.answers.once(f"payload {url}", lambda: _peeked_payload(url, self._patience))

    def listed(self, part: Part) -> Mapping[str, str]:
        """The digests in the list of its directory, by the names of files; what is pinned needs no signature."""
        url, needs_signature = part.source.reference, part.signed and not part.pin
        kind = "signed list" if needs_signature else "list"
        read = self._signed_list if needs_signature else self._unsigned_list
        return self.access.answers.once(f"{kind} {sha256sums.list_beside(url)}", lambda: read(url))

    def _signed_list(self, url: str) -> Mapping[str, str]:
        paths = self.access.paths
        lists = SignedLists(paths.signed_lists, self.access.signed)
        keyrings = paths.keyrings(self.access.keyring)
        return sha256sums.read_signed(url, keyrings, lists, self._patience, root=paths.root)

    def _unsigned_list(self, url: str) -> Mapping[str, str]:
        return sha256sums.read_unsigned(url, self._patience)

    def is_kept(self, resolution: Resolution) -> bool:
        return blob_in(self.access.blobs, resolution.digest).is_file()

    def open(self, it: Opening, use: Callable[[Content], Made]) -> Made:
        url, digest = it.part.source.reference, it.resolution.digest
        if not self.is_kept(it.resolution):
            self.access.require_network(it.part.text)
        directory, limit, patience = self.access.blobs / "sha256", self.access.limits.size, self._patience
        file = download.download(url, digest, directory, size_limit=limit, progress=it.meter, patience=patience)
        return use(content_of_file(file, digest, file_name(url)))


def _peeked_payload(url: str, patience: web.Patience) -> Payload:
    """What the beginning of a file shows it to be, where the configuration leaves the format open."""
    with tempfile.NamedTemporaryFile(prefix="livelayer-") as head:
        head.write(web.peek(url, patience=patience))
        head.flush()
        return payload_in(Path(head.name))
