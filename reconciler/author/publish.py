"""From what was built to an image in a registry: look at it, write it as an OCI layout, send that."""

from __future__ import annotations

import logging
import os
import tempfile
from contextlib import contextmanager
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Failed, Invalid, ReconcilerError
from reconciler.host.assembly.publishable import (
    Form,
    fingerprint,
    form_of,
    look_into_file,
    look_into_image,
    look_into_tree,
    own_name,
)
from reconciler.host.registry.layoutreader import LayoutReader
from reconciler.host.registry.layoutwriter import OciLayout
from reconciler.host.registry.skopeopush import push
from reconciler.host.tar.fromtree import write_tree
from reconciler.host.tar.reader import Member
from reconciler.host.tar.reproducible import Reproducible, source_date_epoch
from reconciler.model.build.publication import (
    Published,
    PublishedImage,
    Subject,
    default_annotations,
    objection,
    platforms_of,
    refuse_duplicates,
)
from reconciler.model.content.ociread import Platform, platform_of
from reconciler.model.content.ociwrite import About, Compression
from reconciler.model.fit.contents import Contents
from reconciler.model.fit.filekind import FileKind
from reconciler.model.kind import Kind
from reconciler.paths import SCRATCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.host.registry.layoutreader import LayoutImage
    from reconciler.host.registry.skopeo import Skopeo
    from reconciler.host.registry.skopeopush import Signing
    from reconciler.host.tar.writer import Archive
    from reconciler.model.content.destination import Destination
    from reconciler.model.content.ociread import Descriptor

log = logging.getLogger(__name__)

_PIECE: Final = 1 << 20
# What Kairos calls the artifacts that it publishes; for the other kind there is no such custom.
_ARTIFACT_TYPES: Final = {
    Kind.SYSEXT: "application/vnd.kairos.sysext.raw",
    Kind.CONFEXT: "application/vnd.livelayer.confext.raw",
}


@dataclass(frozen=True, slots=True)
class PushRequest:
    """How something is to be published."""

    destination: Destination
    platforms: tuple[Platform, ...] = ()  # one for each thing that is pushed, or all that the only one serves
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    compression: Compression | None = None
    artifact: bool = False  # an image file as it is, in place of a container image that holds it
    artifact_type: str | None = None
    force: bool = False  # push what no host could merge
    dry_run: bool = False  # make the image, and send nothing
    signing: Signing | None = None


def publish(inputs: Sequence[Path], request: PushRequest, skopeo: Skopeo, machine: str) -> Published:
    """Push directories, image files or OCI layouts as one image, for one platform or for several."""
    forms = [form_of(path) for path in inputs]
    _check_request(request, forms)
    with _workplace() as workplace:
        if forms == [Form.LAYOUT]:
            return _forward(inputs[0], request, skopeo, workplace)
        before = [fingerprint(path)[0] for path in inputs]
        maker = _Maker(request, workplace, OciLayout(workplace / "layout"), platform_of(machine))
        images = maker.make(list(zip(inputs, forms, strict=True)))
        held = maker.layout.finish(*[it.manifest for it in images], annotations=maker.annotations(images))
        for path, was in zip(inputs, before, strict=True):
            if fingerprint(path)[0] != was:
                raise Failed(f"{path} changed while it was read", "push it again once nothing writes to it")
        published = Published(held, tuple(images))
        _send(str(workplace / "layout"), published, request, skopeo)
        return published


def _check_request(request: PushRequest, forms: Sequence[Form]) -> None:
    """Refuse what cannot be, rather than to pass over it."""
    if request.signing and not request.destination.is_registry:
        raise Invalid(f"{request.destination.argument}: only images in a registry are signed", "push to docker://...")
    if request.artifact and {*forms} != {Form.FILE}:
        raise Invalid("--artifact is for image files", "make one of it with: livelayer build --format squashfs")
    if request.artifact and (request.labels or request.compression):
        option = "--label" if request.labels else "--compression"
        raise Invalid(f"{option} is for container images", "an artifact has annotations, and its file is as it is")
    if request.artifact_type and not request.artifact:
        raise Invalid("--artifact-type is for artifacts", "add --artifact")
    given = request.labels or request.annotations or request.compression or request.platforms
    if Form.LAYOUT in forms and given:
        raise Invalid(
            "--label, --annotation, --compression and --platform change an image, and a layout is pushed as it is",
            "give them to what writes the layout",
        )
    if len(forms) > 1 and request.platforms and len(request.platforms) != len(forms):
        raise Invalid(
            f"{len(request.platforms)} platforms for {len(forms)} files",
            "give one --platform for each, in their order",
        )


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes one layout of everything that is to be pushed together."""

    request: PushRequest
    workplace: Path
    layout: OciLayout
    own: Platform

    def make(self, inputs: Sequence[tuple[Path, Form]]) -> list[PublishedImage]:
        made: list[PublishedImage] = []
        for number, (path, form) in enumerate(inputs):
            asked = self.request.platforms if len(inputs) == 1 else self.request.platforms[number : number + 1]
            made += self._adopt(path) if form is Form.LAYOUT else self._pack(path, form, asked)
        if len(made) > 1:
            refuse_duplicates([(it.made_of, it.manifest.platform or self.own) for it in made])
        return made

    def annotations(self, images: Sequence[PublishedImage]) -> dict[str, str]:
        """Of the index of several: what holds for the first."""
        subject = images[0].subject
        defaults = default_annotations(subject, self.request.destination.tag) if subject else {}
        return {**defaults, **self.request.annotations}

    def _adopt(self, path: Path) -> list[PublishedImage]:
        reader = LayoutReader(path)
        held, _ = reader.held(self.request.destination.tag)
        found = reader.images(held)
        for image in found:
            blobs = [image.manifest.digest, image.content.config, *(layer.digest for layer in image.content.layers)]
            self.layout.adopt(reader.blob, blobs)
        return [_looked_into(image, reader, path, self.request, self.workplace) for image in found]

    def _pack(self, path: Path, form: Form, asked: Sequence[Platform]) -> list[PublishedImage]:
        subject = self._look(path, form)
        about = self._about(path, subject)
        platforms = platforms_of(subject, asked, self.own)
        made = [self._write(path, form, subject, replace(about, platform=it)) for it in platforms]
        return [PublishedImage(it, str(path), subject) for it in made]

    def _look(self, path: Path, form: Form) -> Subject:
        try:
            subject = look_into_tree(path) if form is Form.TREE else look_into_file(path, self.workplace)
        except ReconcilerError as error:
            told = error if str(path) in error.message else error.about(str(path))
            if not self.request.force:
                raise told from error
            log.warning("%s", told)
            return Subject(str(path), own_name(path), Kind.SYSEXT, Contents({}))
        _check(subject, self.request)
        return subject

    def _write(self, path: Path, form: Form, subject: Subject, about: About) -> Descriptor:
        if self.request.artifact:
            media_type = self.request.artifact_type or _ARTIFACT_TYPES[subject.kind]
            return self.layout.add_artifact(path, own_name(path), media_type, about)
        epoch = source_date_epoch()
        fill = _fill_with_tree if form is Form.TREE else _fill_with_file
        compression = self.request.compression or Compression.GZIP
        return self.layout.add_image(lambda writer: fill(path, Reproducible(writer, epoch)), about, compression)

    def _about(self, path: Path, subject: Subject) -> About:
        epoch = source_date_epoch()
        created = fingerprint(path)[1] if epoch is None else epoch
        said = default_annotations(subject, self.request.destination.tag)
        return About(self.own, created, {**said, **self.request.labels}, {**said, **self.request.annotations})


def _fill_with_tree(path: Path, archive: Archive) -> None:
    write_tree(path.resolve(), archive)


def _fill_with_file(path: Path, archive: Archive) -> None:
    """An image file as the only content of a container image."""
    status = path.stat()
    name = own_name(path).encode()
    with path.open("rb") as file:
        member = Member(name, FileKind.FILE, 0o644, 0, 0, status.st_mtime_ns, status.st_size, b"", {})
        archive.add(member, iter(partial(file.read, _PIECE), b""))


def _check(subject: Subject, request: PushRequest) -> None:
    error = objection(subject)
    if error and not request.force:
        raise error
    if error:
        log.warning("%s", error)


def _looked_into(
    image: LayoutImage, reader: LayoutReader, path: Path, request: PushRequest, workplace: Path
) -> PublishedImage:
    subject = look_into_image(image, reader, workplace, path)
    if subject:
        _check(subject, request)
    return PublishedImage(image.manifest, str(path), subject)


def _forward(path: Path, request: PushRequest, skopeo: Skopeo, workplace: Path) -> Published:
    """A layout as it is."""
    reader = LayoutReader(path)
    held, name = reader.held(request.destination.tag)
    images = [_looked_into(image, reader, path, request, workplace) for image in reader.images(held)]
    link = workplace / "layout"  # skopeo takes a colon in a path for the end of it
    link.symlink_to(path.resolve())
    published = Published(held, tuple(images))
    _send(f"{link}:{name}" if name else str(link), published, request, skopeo)
    return published


def _send(layout: str, published: Published, request: PushRequest, skopeo: Skopeo) -> None:
    if request.dry_run:
        return
    for image in published.images:
        what = (
            f"{image.subject.name} ({image.subject.kind}, {image.subject.form})" if image.subject else image.made_of
        )
        log.info("push %s for %s to %s", what, image.manifest.platform or "any machine", request.destination.argument)
    push(skopeo, layout, request.destination, published.held.digest, request.signing)


@contextmanager
def _workplace() -> Iterator[Path]:
    """A private directory with room for images, gone at the end."""
    parent = os.environ.get("TMPDIR") or SCRATCH
    try:
        made = tempfile.TemporaryDirectory(prefix="livelayer-push-", dir=parent)
    except OSError as error:
        raise Failed.of(error, f"{parent}: cannot be used", "set TMPDIR to a directory with space") from error
    with made as directory:
        yield Path(directory)
