"""From a source, a file or a directory to all that is known of the extension in it; leaves nothing behind."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, Invalid, ReconcilerError
from reconciler.host.base.blobs import blob_in
from reconciler.host.base.bounded import read_bounded
from reconciler.host.base.digest import file_digest
from reconciler.host.images.facts import Listing
from reconciler.host.images.programs import recognise
from reconciler.host.merge.hostfiles import look_at_host
from reconciler.host.node.machine import read_host
from reconciler.host.registry.copiedimage import read_copied
from reconciler.host.tar.reader import Kind as MemberKind
from reconciler.model.content.format import Payload
from reconciler.model.content.limits import DEFAULT, Limits, size_text
from reconciler.model.content.ociread import Index, Layer, digest_of, parse_manifest, platform_of
from reconciler.model.content.source import Transport, parse_source
from reconciler.model.facts.extensionfacts import ExtensionFacts, FileKind, Origin, kind_of
from reconciler.model.facts.hostfit import THIS_HOST, HostFit, judge
from reconciler.model.fit.release import Host, parse_release
from reconciler.paths import SCRATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from reconciler.host.registry.skopeo import Skopeo
    from reconciler.host.tar.reader import Member
    from reconciler.model.content.ociread import Manifest, Platform
    from reconciler.model.content.source import Source
    from reconciler.paths import Paths

_NEWEST: Final = 262  # the systemd that other hosts are taken to have where this one has none
_COMPRESSED: Final = frozenset({".gz", ".xz", ".zst", ".bz2"})
_CHANGED: Final = "correct --digest, or the source"


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asks about one extension."""

    subject: str  # a source, or the path of a file or directory
    name: str | None = None
    digest: str | None = None  # what it must have
    platform: Platform | None = None  # of images for several
    wants_signature: bool = False
    limits: Limits = DEFAULT


def gather(request: Request, paths: Paths) -> ExtensionFacts:
    """All that is known of an extension.

    Raises:
        ReconcilerError: it cannot be read, is damaged, or takes more than the limits allow.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="livelayer-", dir=os.environ.get("TMPDIR", SCRATCH)) as scratch:
            opener = _Opener(request, paths, Path(scratch))
            origin = opener.open()
            files = opener.listing.files()
    except OSError as error:
        hint = "look at its mode, at the file system and at the space in TMPDIR"
        raise Failed.of(error, f"{error.filename or request.subject}", hint) from error
    facts = ExtensionFacts(
        origin,
        kind_of(files),
        files,
        asked_name=request.name,
        now=int(time.time()),
        wants_signature=request.wants_signature,
    )
    return replace(facts, host=look_at_host(facts, paths))


def fits(facts: ExtensionFacts, paths: Paths, others: Sequence[tuple[Path, int | None, str | None]]) -> list[HostFit]:
    """Which hosts the extension fits: this one, and others.

    Args:
        facts: what is known of the extension.
        paths: of this host.
        others: an os-release file of each, the version of systemd and the architecture; None: as this host's.

    Raises:
        Invalid: an os-release file cannot be read.
    """
    try:
        own = _own_host(paths, needs_images=facts.origin.image is not None)
    except ReconcilerError as error:
        unknown = HostFit(f"{THIS_HOST} ({error})", None)
        own = Host({}, os.uname().machine, _NEWEST)
        return [unknown, *(judge(facts, str(it[0]), _other_host(own, *it)) for it in others)]
    return [judge(facts, THIS_HOST, own), *(judge(facts, str(it[0]), _other_host(own, *it)) for it in others)]


def _own_host(paths: Paths, *, needs_images: bool) -> Host:
    host = read_host(paths)
    if not (needs_images and paths.is_running_system):
        return host
    from reconciler.host.node.imagepolicies import read_policies

    return replace(host, image_policies=read_policies(host.systemd))


def _other_host(own: Host, file: Path, systemd: int | None, architecture: str | None) -> Host:
    try:
        release = parse_release(read_bounded(file).decode(errors="replace"))
    except OSError as error:
        raise Invalid.of(error, f"{file}: cannot be read", "name an os-release file of the other OS") from error
    has_id_like = systemd is None and own.has_id_like
    return Host(release, architecture or own.machine, systemd or own.systemd, has_id_like=has_id_like)


@dataclass(slots=True)
class _Opener:
    """Opens one source, into a listing of its files."""

    request: Request
    paths: Paths
    scratch: Path
    listing: Listing

    def __init__(self, request: Request, paths: Paths, scratch: Path) -> None:
        self.request, self.paths, self.scratch = request, paths, scratch
        self.listing = Listing(recognise)

    def open(self) -> Origin:
        """What the source turns out to be."""
        subject = self.request.subject
        path = Path(subject)
        if "://" not in subject and path.exists():
            return self._from_path(path, subject)
        try:
            source = parse_source(subject)
        except ValueError as error:
            if ":" in subject:
                raise Invalid(str(error), "check the source") from error
            hint = "name a file, a directory, or a source such as docker://REF"
            raise Invalid(f"{subject}: there is no such file or directory", hint, code="source.not-found") from error
        if source.transport is Transport.FILE:
            return self._from_path(self.paths.under(source.reference), source.text)
        return self._from_url(source) if source.is_web else self._from_registry(source)

    def _from_path(self, path: Path, subject: str) -> Origin:
        if path.is_dir():
            return self._from_directory(path, subject)
        if not path.exists():
            raise Invalid(f"{path}: there is no such file or directory", "check the path", code="source.not-found")
        if not path.is_file():
            raise Invalid(
                f"{path} is neither a file nor a directory", "name an image file, a tar archive or a directory"
            )
        digest = _file_digest(path)
        self._check_digest(digest)
        origin = Origin(subject, Payload.TAR, _stem(path.name), digest, packed=path.stat().st_size)
        return self._from_file(path, origin)

    def _from_directory(self, path: Path, subject: str) -> Origin:
        self.listing.walk(path, self.request.limits)
        digest = _tree_digest(path)
        self._check_digest(digest)
        return Origin(subject, Payload.TREE, None, digest)

    def _from_url(self, source: Source) -> Origin:
        from reconciler.host.sources import download, sha256sums
        from reconciler.model.content.sha256sums import file_name

        digest = self.request.digest or sha256sums.resolve(source.reference, self.paths.keyrings(None))
        limit = self.request.limits.size
        file = download.download(
            source.reference, digest, self.scratch / "downloads", size_limit=limit, progress=lambda *_: None
        )
        stem = _stem(file_name(source.reference))
        return self._from_file(file, Origin(source.text, Payload.TAR, stem, digest, packed=file.stat().st_size))

    def _from_registry(self, source: Source) -> Origin:
        from reconciler.host.registry.skopeo import Skopeo

        skopeo = Skopeo(self.paths.auth_file)
        platform = self.request.platform or platform_of(os.uname().machine)
        digest, manifest = self._resolve(skopeo, source, platform)
        layout, blobs = self.scratch / "image", self.scratch / "blobs"
        blobs.mkdir()
        skopeo.copy(source.argument(manifest), platform, layout, blobs)
        image = read_copied(layout, blobs, platform, source.text)
        origin = Origin(source.text, Payload.LAYERS, None, digest, manifest, image.size)
        return self._from_image(image, lambda it: blob_in(blobs, it), origin)

    def _resolve(self, skopeo: Skopeo, source: Source, platform: Platform) -> tuple[str, str]:
        """The digests of what the source names and of the platform's manifest in it, whose size is within limits."""
        content = skopeo.raw_manifest(source.argument())
        found = parse_manifest(content)
        digest = manifest = digest_of(content)
        if isinstance(found, Index):
            manifest = found.choose(platform)
            if source.transport is Transport.DOCKER:  # nothing but a registry gives a manifest by its digest
                found = parse_manifest(skopeo.raw_manifest(source.argument(manifest)))
        self._check_digest(digest, manifest)
        limit = self.request.limits.size
        if not isinstance(found, Index) and found.size > limit:
            raise Invalid(
                f"{source.text}: the image has more than {size_text(limit)}",
                "inspect a smaller one",
                code="limit.exceeded",
            )
        return digest, manifest

    def _from_image(self, image: Manifest, blob_of: Callable[[str], Path], origin: Origin) -> Origin:
        if not image.is_artifact:
            self._merge(image.layers, blob_of)
            file = self._carried(image.layers, blob_of)
            return self._from_file(file, replace(origin, stem=_stem(file.name))) if file else origin
        if len(image.layers) != 1:
            hint = "push each image file as an artifact of its own"
            raise Invalid(f"{origin.subject}: the artifact has {len(image.layers)} files, not one", hint)
        (layer,) = image.layers
        return self._from_file(blob_of(layer.digest), replace(origin, stem=_stem(layer.title or "")))

    def _from_file(self, file: Path, origin: Origin) -> Origin:
        from reconciler.host.images.payload import payload_in

        if payload_in(file) is Payload.IMAGE:
            return self._from_image_file(file, replace(origin, payload=Payload.IMAGE))
        layer = Layer(origin.digest or "", file.stat().st_size, "", None)
        self._merge((layer,), lambda _: file)
        return origin

    def _from_image_file(self, file: Path, origin: Origin) -> Origin:
        from reconciler.host.images.inspect import architecture_of, inspect_image, read_signature
        from reconciler.host.images.listing import list_image
        from reconciler.model.kind import Kind

        image_file = self._decompressed(file)
        architecture = architecture_of(image_file)
        image = inspect_image(image_file, Kind.SYSEXT, self.scratch, architecture).image
        assert image  # noqa: S101 - it was a file
        workplace = self.scratch / "listing"
        workplace.mkdir()
        known = list_image(image_file, image, self.listing, workplace, self.request.limits)
        return replace(
            origin,
            image=image,
            signature=read_signature(image_file, architecture),
            knows_owners=known.owners,
            knows_attributes=known.attributes,
        )

    def _decompressed(self, file: Path) -> Path:
        from reconciler.host.images.rawfile import ImageFile, decompress_to
        from reconciler.host.tar.decompress import is_compressed

        with ImageFile(file) as image:
            head = image.read(0, 16)
        if not is_compressed(head):
            return file
        target = self.scratch / "decompressed"
        decompress_to(file, target, self.request.limits.size)
        return target

    def _merge(self, layers: Sequence[Layer], blob_of: Callable[[str], Path]) -> None:
        """The tree that layers are; unpacked only where one pass does not tell."""
        from reconciler.host.layers.flatten import Entangled, merge
        from reconciler.host.layers.unpack import flatten

        try:
            merge(layers, blob_of, self.listing.take, self.request.limits)
        except Entangled:
            tree = self.scratch / "tree"
            tree.mkdir()
            flatten(layers, blob_of, tree, self.request.limits)
            self.listing = Listing(recognise)
            self.listing.walk(tree, self.request.limits)

    def _carried(self, layers: Sequence[Layer], blob_of: Callable[[str], Path]) -> Path | None:
        """The image file that a container image carries as its only file (`format: raw`)."""
        from reconciler.host.images.rawfile import write_sparse
        from reconciler.host.layers.flatten import Entangled, merge

        names = [path for path, file in self.listing.files().items() if file.kind is not FileKind.DIRECTORY]
        if len(names) != 1 or _stem(names[0]) is None:
            return None
        directory = self.scratch / "carried"
        directory.mkdir()
        target = directory / names[0].rpartition("/")[2]

        def keep(member: Member, chunks: Iterable[memoryview]) -> None:
            if member.kind is MemberKind.FILE and not member.sparse:
                write_sparse(target, map(bytes, chunks))

        try:
            merge(layers, blob_of, keep, self.request.limits)
        except Entangled:  # what was kept may be another layer's
            return None
        if not target.exists():
            return None
        self.listing = Listing(recognise)
        return target

    def _check_digest(self, *found: str | None) -> None:
        if self.request.digest and self.request.digest not in found:
            raise Invalid(
                f"{self.request.subject} has the digest {found[0]}, not {self.request.digest}",
                _CHANGED,
                code="digest.mismatch",
            )


def _stem(file_name: str) -> str | None:
    """The name that systemd takes an image file's extension to have; None: it takes it for none."""
    stem = file_name
    while Path(stem).suffix in _COMPRESSED:
        stem = Path(stem).stem
    if not stem.endswith(".raw"):
        return None
    return stem.removesuffix(".raw").removesuffix(".sysext").removesuffix(".confext")


def _file_digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise Failed.of(error, f"{path}: cannot be read", "look at its mode and disk") from error


def _tree_digest(path: Path) -> str | None:
    """None for a directory that no configuration could name as a source."""
    from reconciler.host.sources.local import Tree

    try:
        return Tree(path).digest()
    except Invalid:
        return None
    except OSError as error:
        raise Failed.of(error, f"{error.filename}: cannot be read", "read it as root") from error
