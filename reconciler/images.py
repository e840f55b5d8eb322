"""From a source to an entry of the store: resolve tags to digests, fetch, unpack."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from reconciler.errors import Invalid, Offline, ReconcilerError, Unavailable
from reconciler.host import store
from reconciler.host.durable import read_json, write_json
from reconciler.model.image import (
    Index,
    Manifest,
    Platform,
    digest_of,
    parse_manifest,
    platform_in,
    platform_of,
    with_diff_ids,
)
from reconciler.model.observed import Entry, Resolution
from reconciler.model.plan import Resolutions, entry_for
from reconciler.model.source import DIGEST

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from reconciler.host.skopeo import Skopeo
    from reconciler.model.desired import Wanted
    from reconciler.paths import Paths

log = logging.getLogger(__name__)


class Lookups(Enum):
    """Which sources may be asked what they lead to."""

    ALL = "all"
    LOCAL = "local"  # an offline run
    NONE = "none"  # a look at what is known already


@dataclass(frozen=True, slots=True)
class Images:
    """Access to images for one run on one node."""

    paths: Paths
    machine: str
    lookups: Lookups = Lookups.ALL
    records: dict[str, Any] = field(default_factory=dict)  # by `_key`: what was fetched before

    def resolve_all(self, wanted: Iterable[Wanted]) -> Resolutions:
        """What each source leads to; a failure is that extension's own."""
        return {item.name: self._resolve_or_error(item) for item in wanted}

    def remember(self, wanted: Wanted, resolution: Resolution) -> None:
        """Note what a source led to, once its content is in the store.

        Raises:
            Failed: the record cannot be written.
        """
        self.records[_key(wanted, self._platform(wanted))] = [resolution.digest, resolution.manifest]
        write_json(self.paths.resolutions, self.records)

    def fetch(self, wanted: Wanted, resolution: Resolution, entry: Entry) -> None:
        """Bring content into the store. Afterwards it is there, complete, or nothing has changed.

        Raises:
            ReconcilerError: sorted by what may be done about it.
        """
        platform = self._platform(wanted)
        with store.stage(self.paths) as stage:
            tree = stage / "tree"
            image = self._copy(wanted, resolution, platform, stage / "image")
            try:
                self._unpack(image, tree)
            except Invalid:
                if not self._drop_damaged_blobs(image):
                    raise
                image = self._copy(wanted, resolution, platform, stage / "again")
                self._unpack(image, tree)
            if entry.renamed_to:
                store.give_release_name(tree, entry.renamed_to)
            store.commit(self.paths, tree, entry)

    def _platform(self, wanted: Wanted) -> Platform:
        return wanted.platform or platform_of(self.machine)

    def _resolve_or_error(self, wanted: Wanted) -> Resolution | ReconcilerError:
        try:
            return self._resolve(wanted)
        except ReconcilerError as error:
            return error.about(wanted.name)

    def _resolve(self, wanted: Wanted) -> Resolution:
        known = self._known(wanted)
        if known and (wanted.pull != "always" or not self._may_look_up(wanted)):
            return known
        if wanted.pull == "never":
            raise Invalid("is not in the store, and pull: never forbids to fetch it", "set pull: missing")
        if not self._may_look_up(wanted):
            raise Offline(f"{wanted.text} is not in the store yet", "it is fetched by: livelayer apply")
        try:
            return self._look_up(wanted)
        except Unavailable as error:
            if known is None:
                raise
            log.warning("%s: staying at %s: %s", wanted.name, known.digest, error.message)
            return known

    def _may_look_up(self, wanted: Wanted) -> bool:
        return self.lookups is Lookups.ALL or (self.lookups is Lookups.LOCAL and not wanted.source.is_remote)

    def _known(self, wanted: Wanted) -> Resolution | None:
        """What the source led to when its content, still in the store, was fetched."""
        record = self.records.get(_key(wanted, self._platform(wanted)))
        candidates = [Resolution(*record)] if record else []
        if wanted.pin:
            candidates.append(Resolution(wanted.pin, wanted.pin))
        for resolution in candidates:
            entry = entry_for(wanted, resolution)
            if resolution.satisfies(wanted.pin) and (self.paths.store / entry.file_name).is_dir():
                return resolution
        return None

    def _look_up(self, wanted: Wanted) -> Resolution:
        content = self._skopeo().raw_manifest(wanted.source.argument(wanted.pin))
        found = parse_manifest(content)
        digest = digest_of(content)
        manifest = found.choose(self._platform(wanted)) if isinstance(found, Index) else digest
        resolution = Resolution(digest, manifest)
        if not resolution.satisfies(wanted.pin):
            raise Invalid(
                f"{wanted.text} leads to {digest}, not to the pinned {wanted.pin}",
                "correct digest: or source:",
            )
        return resolution

    def _copy(self, wanted: Wanted, resolution: Resolution, platform: Platform, layout: Path) -> Manifest:
        """Copy by digest where the source is a registry: its tag may move at any time."""
        self.paths.blobs.mkdir(parents=True, exist_ok=True)
        argument = wanted.source.argument(resolution.manifest)
        self._skopeo().copy(argument, platform, layout, self.paths.blobs)
        return self._read_copied(layout, wanted, platform)

    def _read_copied(self, layout: Path, wanted: Wanted, platform: Platform) -> Manifest:
        index = parse_manifest((layout / "index.json").read_bytes())
        assert isinstance(index, Index)  # noqa: S101 - skopeo has just written it
        content = self._blob(index.manifests[0].digest).read_bytes()
        manifest = parse_manifest(content)
        if isinstance(manifest, Index):
            raise Invalid(f"{wanted.text}: an index inside an index", "push the image again")
        config = self._blob(manifest.config).read_bytes()
        _check_platform(config, platform, wanted)
        return with_diff_ids(manifest, config)

    def _unpack(self, image: Manifest, tree: Path) -> None:
        from reconciler.host.layers import flatten

        store.new_tree(tree)
        flatten(image.layers, self._blob, tree)

    def _blob(self, digest: str) -> Path:
        return self.paths.blobs / "sha256" / digest.removeprefix("sha256:")

    def _drop_damaged_blobs(self, image: Manifest) -> bool:
        """Drop blobs that are not what their name says (a power cut while skopeo wrote); tell whether any were."""
        damaged = [blob for blob in map(self._blob, _blob_digests(image)) if not _is_intact(blob)]
        for blob in damaged:
            log.warning("%s is damaged and will be fetched again", blob)
            blob.unlink(missing_ok=True)
        return bool(damaged)

    def _skopeo(self) -> Skopeo:
        from reconciler.host.skopeo import Skopeo

        return Skopeo(self.paths.auth_file)


def open_images(paths: Paths, machine: str, lookups: Lookups) -> Images:
    """Access to images with the records of earlier runs."""
    records = read_json(paths.resolutions)
    sound = {key: it for key, it in records.items() if _is_record(it)} if isinstance(records, dict) else {}
    return Images(paths, machine, lookups, sound)


def _is_record(value: object) -> bool:
    """Two digests; anything else was not written by us, and what it stood for can be looked up again."""
    match value:
        case [str(digest), str(manifest)]:
            return bool(DIGEST.fullmatch(digest) and DIGEST.fullmatch(manifest))
        case _:
            return False


def _key(wanted: Wanted, platform: Platform) -> str:
    return f"{wanted.source.argument(wanted.pin)} {platform}"


def _blob_digests(image: Manifest) -> list[str]:
    return [image.config, *(layer.digest for layer in image.layers)]


def _is_intact(blob: Path) -> bool:
    try:
        with blob.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == blob.name
    except OSError:
        return False


def _check_platform(config: bytes, platform: Platform, wanted: Wanted) -> None:
    """A single image says what it is for; an index was chosen from by platform already."""
    declared = platform_in(config)
    if declared and (declared.os, declared.architecture) != (platform.os, platform.architecture):
        raise Invalid(
            f"{wanted.text} is an image for {declared}, not for {platform}",
            f"if its content runs here nevertheless: platform: {declared}",
        )
