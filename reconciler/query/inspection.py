"""From a source, a file or a directory to all that is known of the extension in it; leaves nothing behind."""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

from reconciler.dataclass import dataclass
from reconciler.errors import Failed, Invalid, ReconcilerError, file_of, parsed
from reconciler.fetch.content import ImageFile, Layers, Tree, content_of_file, stem_of
from reconciler.fetch.make import sole_file
from reconciler.fetch.transport import Access, Opening, transport_for
from reconciler.host.base.digest import file_digest
from reconciler.host.images.facts import Listing
from reconciler.host.images.inspect import architecture_of, inspect_image, read_signature
from reconciler.host.images.listing import list_image
from reconciler.host.images.programs import recognise
from reconciler.host.images.rawfile import decompressed
from reconciler.host.layers.flatten import flatten
from reconciler.host.merge.hostfiles import look_at_host
from reconciler.host.node.hierarchies import with_hierarchies
from reconciler.host.node.imagepolicies import read_policies
from reconciler.host.node.machine import read_host, read_other_os
from reconciler.host.sources import local
from reconciler.model.config.part import Part
from reconciler.model.config.placeholders import read_pattern
from reconciler.model.content.format import Format, Payload
from reconciler.model.content.limits import DEFAULT, Limits, size_text
from reconciler.model.content.source import Transport, parse_source, parse_source_or_directory
from reconciler.model.facts.extensionfacts import ExtensionFacts, File, Origin, kind_of
from reconciler.model.facts.hostfit import THIS_HOST, HostFit, judge
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.release import Host
from reconciler.model.kind import Kind
from reconciler.paths import SCRATCH

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from reconciler.fetch.content import Content
    from reconciler.host.layers.flatten import Flattened
    from reconciler.model.content.ociread import Platform
    from reconciler.model.content.resolution import Resolution
    from reconciler.model.content.source import Source
    from reconciler.model.content.version import Range
    from reconciler.paths import Paths

_NEWEST: Final = 262  # the systemd that other hosts are taken to have where this one has none
_DIRECTORIES: Final = "name https://HOST/DIR/ or file:///DIR/"
_PATTERN: Final = 'write --match "NAME-@v-%a.raw"'
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
    match: tuple[str, ...] = ()  # of a directory of releases, which files to choose from
    versions: Range | None = None  # of which of them; None: of all
    signed: bool = True  # whether a list of checksums on the web takes a signature
    shows_digest: bool = True  # False: that of a directory, for which all is read, only if it must have one


def gather(request: Request, paths: Paths) -> ExtensionFacts:
    """All that is known of an extension."""
    return _gathered(request, paths, _Look.at_subject)


def gather_resolved(request: Request, part: Part, resolution: Resolution, paths: Paths) -> ExtensionFacts:
    return _gathered(request, paths, lambda look: look.at_source(part, resolution))


def _gathered(request: Request, paths: Paths, found_by: Callable[[_Look], _Found]) -> ExtensionFacts:
    try:
        with tempfile.TemporaryDirectory(prefix="livelayer-", dir=os.environ.get("TMPDIR", SCRATCH)) as scratch:
            blobs = Path(scratch, "blobs")
            access = Access(paths, os.uname().machine, request.limits, scratch_blobs=blobs)
            origin, files = found_by(_Look(request, access, Path(scratch)))
    except OSError as error:
        hint = "look at its mode, at the file system and at the space in TMPDIR"
        raise Failed.of(error, file_of(error, request.subject), hint) from error
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

    Others are an os-release file, the version of systemd and the architecture each; None: as this host's.
    """
    try:
        own = _own_host(paths, needs_images=facts.origin.image is not None)
        here = judge(facts, THIS_HOST, own)
    except ReconcilerError as error:
        own = Host({}, os.uname().machine, _NEWEST)
        here = HostFit(f"{THIS_HOST} ({error})", None)
    return [here, *(judge(facts, str(it[0]), _other_host(own, *it)) for it in others)]


def _own_host(paths: Paths, *, needs_images: bool) -> Host:
    host = with_hierarchies(read_host(paths), paths)
    if not (needs_images and paths.is_running_system):
        return host
    return replace(host, image_policies=read_policies(host.systemd))


def _other_host(own: Host, file: Path, systemd: int | None, architecture: str | None) -> Host:
    has_id_like = systemd is None and own.has_id_like
    return Host(read_other_os(file), architecture or own.machine, systemd or own.systemd, has_id_like=has_id_like)


class _Found(NamedTuple):
    """What was opened, and its files."""

    origin: Origin
    files: dict[str, File]


@dataclass(frozen=True, slots=True)
class _Look:
    """One look into content, by the way that `apply` takes, too; what comes from elsewhere is kept in `scratch`."""

    request: Request
    access: Access
    scratch: Path

    def at_subject(self) -> _Found:
        subject, path = self.request.subject, Path(self.request.subject)
        if self.request.match:
            return self._at_release(parsed(parse_source_or_directory, subject, _DIRECTORIES))
        if "://" not in subject and path.exists():
            return self._at_path(path, subject)
        source = _parsed(subject)
        if source.transport is Transport.FILE:
            return self._at_path(self.access.paths.under(source.reference), source.text)
        pin = self.request.digest if source.is_web else None
        part = Part(source.text, source, pin, self.request.platform, signed=self.request.signed)
        found = transport_for(part, self.access).look_up(part, Format.DIRECTORY)  # whatever it is, its bytes will say
        self._check_digest(found.manifest, found.digest)
        limit = self.request.limits.size
        if found.size is not None and found.size > limit:
            raise Invalid(
                f"{source.text}: the image has more than {size_text(limit)}",
                "inspect a smaller one",
                code="limit.exceeded",
            )
        return self.at_source(part, found)

    def _at_release(self, source: Source) -> _Found:
        """The file of a directory that a configuration would lead to."""
        request = self.request
        if not (source.is_directory or source.transport is Transport.FILE):
            raise Invalid(f"{source.text} is no directory of releases, which --match is for", _DIRECTORIES)
        host = read_host(self.access.paths)
        match = [parsed(read_pattern, text, _PATTERN, "--match").on(host) for text in request.match]
        part = Part(
            source.text, source, request.digest, request.platform, request.versions, tuple(match), request.signed
        )
        found = transport_for(part, self.access).look_up(part, Format.DIRECTORY)
        assert found.choice  # noqa: S101 - it was chosen just now
        return self.at_source(replace(part, text=source.file_in(found.choice.file).text), found)

    def at_source(self, part: Part, resolution: Resolution) -> _Found:
        origin = Origin(part.text, resolution.payload, None, resolution.manifest, resolution.index_digest)
        scratch = self.scratch / "opened"
        scratch.mkdir()
        return transport_for(part, self.access).open(
            Opening(part, resolution, scratch), lambda content: self._listed(content, origin)
        )

    def _at_path(self, path: Path, subject: str) -> _Found:
        if path.is_dir():
            digest = _tree_digest(path) if self.request.shows_digest or self.request.digest else None
            self._check_digest(digest)
            return self._listed(Tree(path), Origin(subject, Payload.TREE, None, digest))
        if not path.exists():
            raise Invalid(f"{path}: there is no such file or directory", "check the path", code="source.not-found")
        if not path.is_file():
            hint = "name an image file, a tar archive or a directory"
            raise Invalid(f"{path} is neither a file nor a directory", hint)
        digest = _file_digest(path)
        self._check_digest(digest)
        return self._listed(content_of_file(path, digest, path.name), Origin(subject, Payload.TAR, None, digest))

    def _listed(self, content: Content, origin: Origin) -> _Found:
        match content:
            case Layers():
                return self._from_layers(content, replace(origin, packed=content.size))
            case ImageFile():
                return self._from_image_file(content, replace(origin, packed=content.path.stat().st_size))
            case Tree():
                files = _walked(content.path, self.request.limits).files()
                return _Found(replace(origin, payload=Payload.TREE), files)
            case never:
                assert_never(never)

    def _from_layers(self, content: Layers, origin: Origin) -> _Found:
        limits = self.request.limits
        listing = flatten(
            content.layers, content.blob_of, self.scratch, limits, _taken, lambda tree: _walked(tree, limits)
        )
        found = listing.files()
        if content.is_archive:
            return _Found(replace(origin, payload=Payload.TAR), found)
        names = [path for path, file in found.items() if file.kind is not FileKind.DIRECTORY]
        if len(names) == 1 and (stem := stem_of(names[0].rpartition("/")[2])) is not None:  # `format: raw`
            file = sole_file(content, self.scratch, limits, origin.subject)
            return self._from_image_file(ImageFile(file, None, stem), origin)
        return _Found(replace(origin, payload=Payload.LAYERS), found)

    def _from_image_file(self, file: ImageFile, origin: Origin) -> _Found:
        image_file = decompressed(file.path, self.scratch / "decompressed", self.request.limits)
        architecture = architecture_of(image_file)
        image = inspect_image(image_file, Kind.SYSEXT, self.scratch, architecture).image
        assert image  # noqa: S101 - it was a file
        workplace = self.scratch / "listing"
        workplace.mkdir()
        listing = Listing(recognise)
        known = list_image(image_file, image, listing, workplace, self.request.limits)
        origin = replace(
            origin,
            payload=Payload.IMAGE,
            stem=file.stem,
            image=image,
            signature=read_signature(image_file, architecture),
            knows_owners=known.owners,
            knows_attributes=known.attributes,
        )
        return _Found(origin, listing.files())

    def _check_digest(self, *found: str | None) -> None:
        if self.request.digest and self.request.digest not in found:
            raise Invalid(
                f"{self.request.subject} has the digest {found[0]}, not {self.request.digest}",
                _CHANGED,
                code="digest.mismatch",
            )


def _parsed(subject: str) -> Source:
    try:
        return parse_source(subject)
    except ValueError as error:
        if ":" in subject:
            raise Invalid(str(error), "check the source") from error
        hint = "name a file, a directory, or a source such as docker://REF"
        raise Invalid(f"{subject}: there is no such file or directory", hint, code="source.not-found") from error


def _taken(flattened: Flattened) -> Listing:
    listing = Listing(recognise)
    for member, chunks in flattened.members:
        listing.take(member, chunks)
    return listing


def _walked(tree: Path, limits: Limits) -> Listing:
    listing = Listing(recognise)
    listing.walk(tree, limits)
    return listing


def _file_digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise Failed.of(error, f"{path}: cannot be read", "look at its mode and disk") from error


def _tree_digest(path: Path) -> str | None:
    """None for a directory that no configuration could name as a source."""
    try:
        return local.Tree(path).digest()
    except Invalid:
        return None
    except OSError as error:
        raise Failed.of(error, f"{file_of(error, path)}: cannot be read", "read it as root") from error
