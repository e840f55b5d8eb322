"""From what a source led to, to an entry of the store: transfer, check, unpack or pack."""

from __future__ import annotations

import logging
import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from reconciler.errors import Failed, Invalid, ReconcilerError, Unavailable
from reconciler.host.base import writeout
from reconciler.host.base.blobs import blob_in
from reconciler.host.base.durable import write_atomically
from reconciler.host.node.signaturepolicy import asks_for_signatures
from reconciler.host.registry import keptimages, transfer
from reconciler.host.registry.copiedimage import copied_digest, read_copied
from reconciler.host.store import entries as store
from reconciler.host.store import seals
from reconciler.model.content.format import Format, Payload
from reconciler.model.content.limits import DEFAULT, Limits
from reconciler.model.content.ociread import Layer, platform_of
from reconciler.model.content.source import Transport
from reconciler.model.plan.space import no_room

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.host.layers.arrival import Blobs
    from reconciler.host.registry.skopeo import Skopeo
    from reconciler.host.registry.transfer import Meter
    from reconciler.host.tar.reader import Kind as MemberKind
    from reconciler.model.config.desired import Wanted
    from reconciler.model.config.part import Part
    from reconciler.model.content.ociread import Manifest, Platform
    from reconciler.model.content.resolution import Resolution
    from reconciler.model.content.source import Source
    from reconciler.model.fit.contents import Contents
    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """One extension's content on its way into the store."""

    wanted: Wanted
    part: Part  # of several, one at a time
    resolution: Resolution
    entry: Entry
    meter: Meter
    remakes: bool = False  # the store has it, and somebody changed it there

    @property
    def source(self) -> Source:
        """Where an image is: the extension's own source may name a catalog that says so."""
        return self.resolution.origin or self.part.source


@dataclass(frozen=True, slots=True)
class Made:
    """What is ready to become an entry."""

    path: Path
    contents: Contents | None = None  # of an image file; a directory can be looked into at any time


@dataclass(frozen=True, slots=True)
class Fetcher:
    """The means to bring content into one node's store. Safe to be used by several threads at once."""

    paths: Paths
    machine: str
    limits: Limits = DEFAULT
    manifests: Mapping[str, Manifest] = field(default_factory=dict)  # by digest: those that are known already
    offline: bool = False  # only what is on this node may be used
    require_space: bool = True  # False: try, even if the disk cannot have room for it

    def fetch(self, job: Job) -> None:
        """Bring content into the store. Afterwards it is there, complete, or nothing has changed.

        What the store has already is made anew.

        Raises:
            ReconcilerError: sorted by what may be done about it.
        """
        job = replace(job, remakes=store.has(self.paths, job.entry))
        with store.stage(self.paths) as stage:
            if self.require_space:
                _require_space(self.paths.staging, job)
            with writeout.early(stage):
                made = self._make(job, stage)
            if job.remakes:
                self._replace(made, job.entry)
            else:
                store.commit(self.paths, made.path, job.entry, made.contents)

    def _replace(self, made: Made, entry: Entry) -> None:
        """Put changed content right. The overlay shows the old tree until it is refreshed, whatever comes between."""
        if self.paths.is_running_system:
            write_atomically(self.paths.refresh_owed(entry.kind), b"", durable=False)
        store.commit(self.paths, made.path, entry, made.contents, replace=True)
        seals.forget(self.paths, entry)

    def _make(self, job: Job, stage: Path) -> Made:
        if job.resolution.parts:
            return self._from_parts(job, stage)
        match job.resolution.payload:
            case Payload.LAYERS | Payload.IMAGE if job.part.source.transport.is_skopeos:
                return self._from_image(job, stage)
            case Payload.TREE:
                return self._from_tree(job, stage)
            case Payload.TAR | Payload.IMAGE | Payload.LAYERS:
                return self._from_file(job, stage)
            case never:
                assert_never(never)

    def _from_image(self, job: Job, stage: Path) -> Made:
        """Content of a container image or an artifact; blobs that a power cut damaged are fetched once more."""
        # What was accepted once, for this place in the store, is not judged again.
        may_be_kept = job.remakes or not asks_for_signatures()
        if may_be_kept and (made := self._from_kept_image(job, stage)):
            return made
        image, made = self._copy_and_build(job, stage)
        if made:
            return made
        try:
            return self._build_image(image, job, stage)
        except Invalid:
            if not self._drop_damaged_blobs(image):
                raise
        return self._build_image(self._copy(job, stage / "again"), job, stage)

    def _from_kept_image(self, job: Job, stage: Path) -> Made | None:
        """From blobs that are here; no registry is asked. None: something of it is missing or damaged.

        Raises:
            Unavailable: the same, in a run without network.
        """
        if image := keptimages.find(self.paths, job.resolution.manifest):
            try:
                return self._build_image(image, job, stage)
            except Invalid:
                if not self._drop_damaged_blobs(image):
                    raise
        if job.part.source.is_remote:
            self._require_network(job)
        return None

    def _require_network(self, job: Job) -> None:
        if self.offline:
            missing = "what it was made of is not on this node any more, and this run uses no network"
            raise Unavailable(f"{job.part.text}: {missing}", "livelayer apply fetches it")

    def _copy_and_build(self, job: Job, stage: Path) -> tuple[Manifest, Made | None]:
        """Copy an image, and unpack or pack it meanwhile where its manifest is known already.

        Whatever fails there is left to be found again, and worded, once everything is here.
        """
        layout, known = stage / "image", self.manifests.get(job.resolution.manifest)
        if known is None or known.is_artifact:
            return self._copy(job, layout), None
        from reconciler.host.layers.arrival import Arrival, arriving

        arrival = Arrival(layout, self.paths.blobs, known.layers)
        with arriving(arrival, lambda: self._copy(job, layout)) as copy:
            made = self._try_to_build(known.layers, arrival.blob, job, stage)
        image = copy.result()
        confirmed = [(layer.digest, layer.diff_id) for layer in image.layers] == [
            (layer.digest, arrival.diff_ids.get(layer.digest)) for layer in known.layers
        ]
        return image, made if confirmed else None

    def _try_to_build(self, layers: tuple[Layer, ...], blob_of: Blobs, job: Job, stage: Path) -> Made | None:
        try:
            return self._build(layers, blob_of, job, stage)
        except ReconcilerError as error:
            log.debug("%s: not unpacked while it was copied: %s", job.wanted.name, error.message)
            return None

    def _build_image(self, image: Manifest, job: Job, stage: Path) -> Made:
        if not image.is_artifact:
            return self._build(image.layers, self._blob, job, stage)
        if len(image.layers) != 1:
            raise Invalid(
                f"{job.part.text}: the artifact has {len(image.layers)} files, not one",
                "push each image file as an artifact of its own",
            )
        digest = image.layers[0].digest
        return self._image_file(self._blob(digest), digest, job, stage)

    def _from_file(self, job: Job, stage: Path) -> Made:
        file = self._file(job)
        if job.entry.format is Format.RAW:
            return self._image_file(file, job.resolution.digest, job, stage)
        layer = Layer(job.resolution.digest, file.stat().st_size, "", None)
        return self._build((layer,), lambda _: file, job, stage)

    def _file(self, job: Job) -> Path:
        """The file a source names."""
        source, digest = job.part.source, job.resolution.digest
        if source.transport is Transport.FILE:
            self._require_same(job)
            return self.paths.under(source.reference)  # its digest is checked while it is read
        from reconciler.host.sources import download

        if not self._blob(digest).is_file():
            self._require_network(job)
        return download.download(
            source.reference,
            digest,
            self.paths.blobs / "sha256",
            size_limit=self.limits.size,
            progress=job.meter,
        )

    def _require_same(self, job: Job) -> None:
        """A file or directory of this node may be another one by now than the one that was placed."""
        if not job.remakes:
            return
        from reconciler.host.sources import local

        source = self.paths.under(job.part.source.reference)
        if local.look_at(source)[0] != job.resolution.digest:
            hint = "put the former content there, or place the present one by pull: always"
            raise Failed(
                f"{source} is not what was placed any more, so that cannot be made anew", hint, code="source.changed"
            )

    def _from_tree(self, job: Job, stage: Path) -> Made:
        from reconciler.host.sources import local

        self._require_same(job)
        tree = stage / "tree"
        source = self.paths.under(job.part.source.reference)
        local.copy_tree(source, tree, job.resolution.digest, self.limits)
        return self._finish_tree(tree, job, stage)

    def _from_parts(self, job: Job, stage: Path) -> Made:
        """Several sources, each made a tree of its own and laid over those before it."""
        from reconciler.host.layers.mergetrees import lay_over
        from reconciler.host.sources.local import Tree

        tree = stage / "tree"
        store.new_tree(tree)
        entry = replace(job.entry, format=Format.DIRECTORY, renamed_to=None)
        for number, (part, resolution) in enumerate(zip(job.wanted.parts, job.resolution.parts, strict=True)):
            scratch = stage / f"part{number}"
            scratch.mkdir()
            lay_over(self._make(replace(job, part=part, resolution=resolution, entry=entry), scratch).path, tree)
            Tree(tree, self.limits).check()
        return self._finish_tree(tree, job, stage)

    def _build(self, layers: tuple[Layer, ...], blob_of: Blobs, job: Job, stage: Path) -> Made:
        match job.entry.format:
            case Format.DIRECTORY:
                return self._finish_tree(self._unpack(layers, blob_of, stage / "tree"), job, stage)
            case Format.SQUASHFS | Format.EROFS:
                return self._pack(layers, blob_of, job, stage)
            case Format.RAW:
                tree = self._unpack(layers, blob_of, stage / "tree")
                return self._image_file(_sole_file(tree, job), None, job, stage)
            case never:
                assert_never(never)

    def _unpack(self, layers: tuple[Layer, ...], blob_of: Blobs, tree: Path) -> Path:
        from reconciler.host.layers.unpack import flatten

        store.new_tree(tree)
        flatten(layers, blob_of, tree, self.limits)
        return tree

    def _finish_tree(self, tree: Path, job: Job, stage: Path) -> Made:
        from reconciler.host.node import selinux

        labelled = selinux.label(tree, self.paths)
        if job.entry.format is not Format.DIRECTORY:
            from reconciler.host.store.pack import pack_tree

            image = stage / "packed"
            return Made(image, pack_tree(tree, image, job.entry, stage, labels=labelled))
        if job.entry.renamed_to:
            store.give_release_name(tree, job.entry.kind, job.entry.renamed_to)
        return Made(tree)

    def _image_file(self, file: Path, digest: str | None, job: Job, stage: Path) -> Made:
        """An image file as it is, decompressed; looked into before it can come near a search directory."""
        from reconciler.host.images.inspect import inspect_image
        from reconciler.host.images.rawfile import decompress_to

        if job.entry.renamed_to:
            hint = f"give the extension the name that its release file has, in place of {job.wanted.name}"
            raise Invalid(f"{job.part.text}: rename: true cannot change an image file", hint, code="config.format")
        image = stage / "image.raw"
        image.unlink(missing_ok=True)  # of a first attempt with a damaged blob
        found, _ = decompress_to(file, image, self.limits.size)
        if digest and found != digest:
            raise Invalid(
                f"{file} has the digest {found} in place of {digest}",
                "fetch it again, and look at the disk",
                code="digest.mismatch",
            )
        return Made(image, inspect_image(image, job.entry.kind, stage))

    def _copy(self, job: Job, layout: Path) -> Manifest:
        self.paths.blobs.mkdir(parents=True, exist_ok=True)
        platform = job.part.platform or platform_of(self.machine)
        with transfer.watch(layout, self.paths.blobs, job.resolution.size, job.meter):
            self._transfer(job, platform, layout)
        keptimages.note(self.paths, job.resolution.manifest, copied_digest(layout))
        return read_copied(layout, self.paths.blobs, platform, job.part.text)

    def _transfer(self, job: Job, platform: Platform, layout: Path) -> None:
        """Copy by digest where the source is a registry, since its tag may move at any time.

        But where signatures are asked for, they are for a name.
        """
        named = _by_tag(job)
        if named and asks_for_signatures():
            from reconciler.host.registry.copybytag import copy_by_name

            copy_by_name(self._skopeo(), named, job.resolution, platform, layout, self.paths.blobs)
            return
        argument = job.source.argument(job.resolution.manifest)
        self._skopeo().copy(argument, platform, layout, self.paths.blobs)

    def _blob(self, digest: str) -> Path:
        return blob_in(self.paths.blobs, digest)

    def _drop_damaged_blobs(self, image: Manifest) -> bool:
        """Drop blobs that are not what their name says (a power cut while skopeo wrote); tell whether any were."""
        damaged = [blob for blob in map(self._blob, _blob_digests(image)) if not _is_intact(blob)]
        for blob in damaged:
            log.warning("%s is damaged and will be fetched again", blob)
            blob.unlink(missing_ok=True)
        return bool(damaged)

    def _skopeo(self) -> Skopeo:
        from reconciler.host.registry.skopeo import Skopeo

        return Skopeo(self.paths.auth_file)

    def _pack(self, layers: tuple[Layer, ...], blob_of: Blobs, job: Job, stage: Path) -> Made:
        from reconciler.host.node import selinux
        from reconciler.host.store import pathlists
        from reconciler.host.store.pack import pack

        if selinux.policy_of(self.paths):  # files are labelled where they lie
            return self._finish_tree(self._unpack(layers, blob_of, stage / "tree"), job, stage)
        image = stage / "packed"
        names: list[Mapping[bytes, MemberKind]] = []
        contents = pack(layers, blob_of, image, job.entry, stage, self.limits, names.append)
        if names:
            pathlists.keep(self.paths, job.entry, pathlists.of_names(names[-1]))
        return Made(image, contents)


def _sole_file(tree: Path, job: Job) -> Path:
    """The image file that a container image carries: the only regular file in it, wherever it lies."""
    found = [Path(directory, name) for directory, _, names in os.walk(tree) for name in names]
    files = [path for path in found if path.is_file() and not path.is_symlink()]
    if len(found) != 1 or len(files) != 1:
        raise Invalid(
            f"{job.part.text}: the image has {len(found)} files; format: raw takes an image whose only file is an "
            "image file",
            "set format: directory or squashfs, or build the image FROM scratch with the one file",
        )
    return files[0]


def _require_space(directory: Path, job: Job) -> None:
    """Refuse what cannot fit before it is transferred. Unpacked it takes as much as packed, at the very least."""
    needed, free = job.resolution.size or 0, shutil.disk_usage(directory).free
    if needed > free:
        raise no_room(job.wanted.text, needed, directory.parent, free)


def _by_tag(job: Job) -> Source | None:
    """The source with the tag that was resolved; None where it was named by a digest, or is no registry."""
    source, tag = job.source, job.resolution.tag
    if source.transport is not Transport.DOCKER or job.part.pin:
        return None
    return source.with_tag(tag) if tag else source


def _blob_digests(image: Manifest) -> list[str]:
    return [image.config, *(layer.digest for layer in image.layers)]


def _is_intact(blob: Path) -> bool:
    from reconciler.host.base.digest import file_digest

    try:
        return file_digest(blob) == f"sha256:{blob.name}"
    except OSError:
        return False
