"""Container images and artifacts by skopeo, from registries, layouts and archives."""

from __future__ import annotations

import logging
import shutil
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, ReconcilerError, Unavailable
from reconciler.fetch.content import Layers, content_of_image
from reconciler.host.base.blobs import blob_in
from reconciler.host.base.digest import file_digest
from reconciler.host.layers.arrival import Arrival, arriving
from reconciler.host.node.signaturepolicy import asks_for_signatures
from reconciler.host.registry import keptimages, transfer, unfinished
from reconciler.host.registry.attempts import TRANSFER, persevere
from reconciler.host.registry.copybytag import copy_by_name
from reconciler.host.registry.skopeo import Skopeo
from reconciler.model.content.format import Payload, artifact_payload
from reconciler.model.content.ociread import Index, digest_of, parse_image, parse_manifest
from reconciler.model.content.resolution import Resolution
from reconciler.model.content.source import Transport as Scheme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.fetch.content import Content
    from reconciler.fetch.transport import Access, Made, Opening
    from reconciler.model.config.part import Part
    from reconciler.model.content.format import Format
    from reconciler.model.content.ociread import Manifest, Platform
    from reconciler.model.content.source import Source


log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Registry:
    """`docker://REF`, `oci:DIR[:TAG]`, `oci-archive:FILE`, `docker-archive:FILE`, `dir:DIR`."""

    access: Access

    def look_up(self, part: Part, wanted: Format | None) -> Resolution:
        found = self._looked_up(part, wanted)
        if (pin := part.pin) and part.source.transport is Scheme.DOCKER and part.source.tag:
            at_tag = self.access.answers.once(f"tag of {part.text} {pin}", lambda: self._at_tag(part, pin))
            return replace(found, at_tag=at_tag)
        return found

    def _raw_manifest(self, argument: str) -> bytes:
        return self.access.answers.once(f"manifest {argument}", lambda: self._skopeo.raw_manifest(argument))

    def _at_tag(self, part: Part, pin: str) -> str | None:
        """Where the tag beside a pin leads, if that is elsewhere: whoever updated one forgot the other.

        The pin counts all the same, and a tag that is gone says nothing.
        """
        try:
            content = self._raw_manifest(replace(part.source, digest=None).argument())
            found = parse_manifest(content)
        except ReconcilerError as error:
            log.debug("%s: what its tag leads to is not known: %s", part.text, error.message)
            return None
        named = [digest_of(content), *(it.digest for it in (found.manifests if isinstance(found, Index) else ()))]
        return None if pin in named else named[0]

    def _looked_up(self, part: Part, wanted: Format | None) -> Resolution:
        source = self._versioned(part)
        content = self._raw_manifest(source.argument(part.pin))
        found = parse_manifest(content)
        digest = manifest = digest_of(content)
        if isinstance(found, Index):
            manifest = found.choose(self.access.platform(part), self.access.best_variant)
            if source.transport is not Scheme.DOCKER:  # nothing but a registry gives a manifest by its digest
                return Resolution(digest, manifest)
            found = parse_image(self._raw_manifest(source.argument(manifest)), part.text)
        elif part.platform and not found.is_artifact and (config := self._blob(found.config)).is_file():
            keptimages.check_platform(config.read_bytes(), part.platform, part.text)
        self.access.manifests[manifest] = found
        payload = artifact_payload(found.layers, wanted) if found.is_artifact else Payload.LAYERS
        return Resolution(digest, manifest, payload, found.size, source.tag if part.version else None)

    def is_kept(self, resolution: Resolution) -> bool:
        return keptimages.find(self.access.paths, resolution.manifest) is not None

    def open(self, it: Opening, use: Callable[[Content], Made]) -> Made:
        """Blobs that a power cut damaged are fetched once more.

        An image that several want in different forms is copied for one of them.
        """
        with self.access.answers.turn(f"image {it.resolution.manifest}"):
            return self._opened(it, use)

    def _opened(self, it: Opening, use: Callable[[Content], Made]) -> Made:
        if (kept := self._kept(it)) and (made := self._use_intact(kept, it, use)) is not None:
            return made
        if it.part.source.is_remote:
            self.access.require_network(it.part.text)
        image, made = self._use_while_copied(it, use)
        if made is None:
            made = self._use_intact(image, it, use)
        if made is None:
            made = use(self._content(self._copy(it, it.scratch / "again"), it))
        return made

    def _kept(self, it: Opening) -> Manifest | None:
        """The image whose blobs are all here; what was accepted once, for this place, is not judged again."""
        if self.access.scratch_blobs or (asks_for_signatures() and not it.again):
            return None
        return keptimages.find(self.access.paths, it.resolution.manifest)

    def _use_intact(self, image: Manifest, it: Opening, use: Callable[[Content], Made]) -> Made | None:
        """None: some of its blobs were damaged, and are not here any more."""
        try:
            return use(self._content(image, it))
        except Invalid:
            if not self._drop_damaged_blobs(image):
                raise
        return None

    def _use_while_copied(self, it: Opening, use: Callable[[Content], Made]) -> tuple[Manifest, Made | None]:
        """Copy an image, and use it meanwhile where its manifest is known already.

        Whatever fails there is left to be found again, and worded, once everything is here.
        """
        layout, known = it.scratch / "image", self.access.manifests.get(it.resolution.manifest)
        if known is None or known.is_artifact or self.access.scratch_blobs:
            return self._copy(it, layout), None
        arrival = Arrival(layout, self.access.blobs, known.layers)
        with arriving(arrival, lambda: self._copy(it, layout)) as copy:
            made = _tried(it, partial(use, Layers(known.layers, arrival.blob)))
        image = copy.result()
        confirmed = [(layer.digest, layer.diff_id) for layer in image.layers] == [
            (layer.digest, arrival.diff_ids.get(layer.digest)) for layer in known.layers
        ]  # but of an image whose configuration lists none, nothing is confirmed: it is read again
        return image, made if confirmed else None

    def _content(self, image: Manifest, it: Opening) -> Content:
        return content_of_image(image, self._blob, it.part.text)

    def _copy(self, it: Opening, layout: Path) -> Manifest:
        access, platform = self.access, self.access.platform(it.part)
        access.blobs.mkdir(parents=True, exist_ok=True)
        with transfer.watch(layout, access.blobs, self._left(it), it.meter), self._noted(it):
            self._transfer(it, layout)
        if not access.scratch_blobs:
            keptimages.note(access.paths, it.resolution.manifest, keptimages.copied_digest(layout))
        is_chosen = it.resolution.index_digest is not None
        return keptimages.read_copied(layout, access.blobs, platform, it.part.text, is_chosen=is_chosen)

    def _left(self, it: Opening) -> int | None:
        """The bytes that are to come, if that is known: without the layers that are here."""
        known, size = self.access.manifests.get(it.resolution.manifest), it.resolution.size
        here = {la.digest: la.size for la in known.layers if self._blob(la.digest).exists()} if known else {}
        return size - sum(here.values()) if size else size

    @contextmanager
    def _noted(self, it: Opening) -> Iterator[None]:
        """Have what comes kept, should it break off; but no disk is left full by it."""
        known, access = self.access.manifests.get(it.resolution.manifest), self.access
        if known is None or access.scratch_blobs or not it.part.source.is_remote:
            yield
            return
        versions = it.part.version.text if it.part.version else ""
        key = f"{it.part.source.argument(it.part.pin)} {access.platform(it.part)} {versions}"
        unfinished.begin(access.paths, key, known.blobs)
        try:
            yield
        except ReconcilerError as error:
            if error.code == "disk.full":
                unfinished.end(access.paths, key)
            raise
        unfinished.end(access.paths, key)

    def _transfer(self, it: Opening, layout: Path) -> None:
        """Copy from a registry in as many attempts as it takes, all of them in the time for one."""
        if not it.part.source.is_remote:
            self._transfer_once(it, layout, self._skopeo)
            return
        known, end = self.access.manifests.get(it.resolution.manifest), time.monotonic() + self._skopeo.timeout

        def attempt() -> None:
            self._transfer_once(it, layout, replace(self._skopeo, timeout=max(end - time.monotonic(), 1.0)))

        def missing() -> int:
            return sum(not self._blob(it).exists() for it in known.blobs) if known else 0

        persevere(attempt, TRANSFER, missing)

    def _transfer_once(self, it: Opening, layout: Path, skopeo: Skopeo) -> None:
        """Copy by digest where the source is a registry, since its tag may move at any time.

        But where signatures are asked for, they are for a name.
        """
        platform, blobs = self.access.platform(it.part), self.access.blobs
        if (named := _by_tag(it)) and asks_for_signatures():
            copy_by_name(skopeo, named, it.resolution, platform, layout, blobs)
        elif not it.part.source.is_remote:
            self._copy_local(it, layout, skopeo, platform)
        else:
            skopeo.copy(it.part.source.argument(it.resolution.manifest), platform, layout, blobs)
        self._fetch_foreign(it, layout, skopeo)

    def _copy_local(self, it: Opening, layout: Path, skopeo: Skopeo, platform: Platform) -> None:
        """Nothing but a registry gives a manifest by its digest, so skopeo is to choose as we did, and did so."""
        argument, wanted, others = it.part.source.argument(), it.resolution.manifest, set[str]()
        if it.resolution.index_digest is not None:
            index = parse_manifest(skopeo.raw_manifest(argument))
            entries = index.manifests if isinstance(index, Index) else ()
            platform = next((one.platform for one in entries if one.digest == wanted), None) or platform
            others = {one.digest for one in entries if one.digest != wanted}
        skopeo.copy(argument, platform, layout, self.access.blobs)
        found = keptimages.copied_digest(layout)
        if found == wanted:
            return
        # A Docker manifest gets another digest in an OCI layout. Any other is another image's.
        if found in others or digest_of(skopeo.raw_manifest(argument)) != it.resolution.digest:
            told = f"{it.part.text}: what was read is {found}, not {wanted}: it changed meanwhile"
            raise Unavailable(told, "a later run tries again", code="source.changed")

    def _fetch_foreign(self, it: Opening, layout: Path, skopeo: Skopeo) -> None:
        """Bring the layers that skopeo did not copy, since the manifest says that they lie elsewhere."""
        image = parse_image(self._blob(keptimages.copied_digest(layout)).read_bytes(), it.part.text)
        missing = sorted({digest for digest in image.blobs if not self._blob(digest).exists()})
        if not missing:
            return
        try:
            for file in skopeo.fetch_layers(it.part.source.argument(it.resolution.manifest), missing, it.scratch):
                if file_digest(file) == f"sha256:{file.name}":
                    shutil.move(file, self._blob(f"sha256:{file.name}"))
        except Invalid as error:
            if error.code not in {"registry.not-found", "image.malformed"}:
                raise
        if away := [digest for digest in missing if not self._blob(digest).exists()]:
            raise Invalid(
                f"{it.part.text}: the layer {away[0]} is not with the image: a foreign one, said to lie elsewhere",
                "have its publisher push the image with all its layers",
                code="image.malformed",
            )

    def _versioned(self, part: Part) -> Source:
        """The source with the tag that its range of versions leads to."""
        if part.version is None:
            return part.source
        repository = part.source.argument()
        tags = self.access.answers.once(f"tags {repository}", lambda: self._skopeo.list_tags(repository))
        tag = part.version.highest(tags)
        if tag is None:
            raise part.version.miss(repository, tags)
        return part.source.with_tag(tag)

    def _blob(self, digest: str) -> Path:
        return blob_in(self.access.blobs, digest)

    def _drop_damaged_blobs(self, image: Manifest) -> bool:
        """Drop blobs that are not what their name says (a power cut while skopeo wrote); tell whether any were."""
        damaged = [blob for blob in map(self._blob, image.blobs) if not _is_intact(blob)]
        for blob in damaged:
            log.warning("%s is damaged and will be fetched again", blob)
            blob.unlink(missing_ok=True)
        return bool(damaged)

    @property
    def _skopeo(self) -> Skopeo:
        paths, transfers = self.access.paths, self.access.transfers
        return Skopeo(paths.auth_file, root=paths.root, rate=transfers.min_rate, timeout=transfers.timeout)


def _tried(it: Opening, use: Callable[[], Made]) -> Made | None:
    try:
        return use()
    except ReconcilerError as error:
        log.debug("%s: not unpacked while it was copied: %s", it.part.text, error.message)
        return None


def _by_tag(it: Opening) -> Source | None:
    """The source with the tag that was resolved; None where it was named by a digest, or is no registry."""
    source, tag = it.part.source, it.resolution.tag
    if source.transport is not Scheme.DOCKER or it.part.pin:
        return None
    return source.with_tag(tag) if tag else source


def _is_intact(blob: Path) -> bool:
    try:
        return file_digest(blob) == f"sha256:{blob.name}"
    except OSError:
        return False
