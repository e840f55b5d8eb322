"""Writes OCI image layouts: container images of one layer, artifacts of one file, for one platform or for several.

The same input gives the same bytes, as long as the compressor is the same: no name, owner or time comes from anywhere
else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from reconciler.errors import Failed, Malformed, file_of
from reconciler.host.base.blobs import blob_in
from reconciler.host.base.digest import file_digest
from reconciler.host.tar.writer import TarWriter
from reconciler.model.content import ociwrite
from reconciler.model.content.ociread import EMPTY_CONFIG, IMAGE_CONFIG, MANIFEST, TITLE, Descriptor
from reconciler.model.content.ociwrite import Compression, descriptor_of

if sys.version_info >= (3, 14):
    from compression.zstd import CompressionParameter, ZstdCompressor
else:
    from backports.zstd import CompressionParameter, ZstdCompressor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import IO

    from reconciler.model.content.ociwrite import About

_PIECE: Final = 1 << 20
_GZIP_LEVEL: Final = 6
_GZIP: Final = 31  # zlib's word for the largest window in a gzip's header and trailer, which name no file and no time
_ZSTD_LEVEL: Final = 9  # about as fast as gzip -6


class OciLayout:
    """A layout that is being written: blobs first, the index that makes it one last."""

    def __init__(self, directory: Path) -> None:
        """Begin in a directory that does not exist yet, or is empty."""
        self._directory = directory
        self._blobs = directory / "blobs"
        with self._writing():
            if directory.exists() and any(directory.iterdir()):
                raise Malformed(f"{directory} is not empty", "name a directory that does not exist yet")
            (self._blobs / "sha256").mkdir(parents=True)

    def add_image(
        self, fill: Callable[[TarWriter], None], about: About, compression: Compression = Compression.GZIP
    ) -> Descriptor:
        """Write a container image of one layer, to which `fill` adds members; return its manifest for `finish`."""
        with self._writing():
            with self._staged() as out:
                (diff_id, digest), size = _packed(fill, out, _compressor(compression))
                layer = self._keep(out, Descriptor(compression.layer_type, digest, size))
            config = self._document(IMAGE_CONFIG, ociwrite.config_document(about, [diff_id]))
            return self._manifest(ociwrite.image_manifest(about, config, [layer]), about)

    def add_artifact(self, file: Path, title: str, media_type: str, about: About) -> Descriptor:
        """Write an artifact whose only layer is a file, as it is; return its manifest for `finish`.

        Args:
            file: the file.
            title: the name that the file is to get where it is pulled.
            media_type: of the file, and of the artifact as a whole.
            about: what is said of it; its labels have no place in an artifact.
        """
        with self._writing():
            with self._staged() as out, file.open("rb") as content:
                shutil.copyfileobj(content, out, _PIECE)
                out.flush()
                digest = file_digest(Path(out.name))
                layer = self._keep(out, Descriptor(media_type, digest, out.tell(), {TITLE: title}))
            self._document(EMPTY_CONFIG, ociwrite.NO_CONFIG)
            return self._manifest(ociwrite.artifact_manifest(about, media_type, layer), about)

    def adopt(self, blob_of: Callable[[str], Path], blobs: Iterable[str]) -> None:
        """Take blobs of another layout, which are checked where they are sent to."""
        with self._writing():
            for digest in blobs:
                target = blob_in(self._blobs, digest)
                if not target.exists():
                    shutil.copyfile(blob_of(digest), target)

    def finish(self, *images: Descriptor, annotations: Mapping[str, str] | None = None) -> Descriptor:
        """Write the layout's index; several images become an index of several platforms, with these annotations.

        Returns:
            What the layout holds: the manifest of a sole image, or the index of several.
        """
        with self._writing():
            index = ociwrite.index_document(images, annotations)
            held = images[0] if len(images) == 1 else self._document(ociwrite.INDEX, index)
            (self._directory / "oci-layout").write_bytes(ociwrite.LAYOUT)
            (self._directory / "index.json").write_bytes(ociwrite.index_document([held]))
            return held

    def _manifest(self, content: bytes, about: About) -> Descriptor:
        return replace(self._document(MANIFEST, content), platform=about.platform)

    def _document(self, media_type: str, content: bytes) -> Descriptor:
        described = descriptor_of(media_type, content)
        blob_in(self._blobs, described.digest).write_bytes(content)
        return described

    def _keep(self, file: IO[bytes], described: Descriptor) -> Descriptor:
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        Path(file.name).replace(blob_in(self._blobs, described.digest))
        return described

    @contextmanager
    def _staged(self) -> Iterator[IO[bytes]]:
        """A file that is a blob once it is kept, and gone otherwise."""
        with tempfile.NamedTemporaryFile(dir=self._directory, prefix=".blob-", delete=False) as file:
            try:
                yield file
            finally:
                Path(file.name).unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            culprit = Path(file_of(error, self._directory))  # which tells what is read from what is written
            ours = culprit.is_relative_to(self._directory)
            hint = f"look at the space and mode of {self._directory}" if ours else "look at its mode and its disk"
            raise Failed.of(error, str(culprit), hint) from error


class _Compressor(Protocol):
    """As zlib's and zstd's are, one frame for a layer."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _compressor(compression: Compression) -> _Compressor:
    match compression:
        case Compression.GZIP:
            return zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP)
        case Compression.ZSTD:
            return ZstdCompressor(options=_zstd_options())


def _zstd_options() -> dict[int, int]:
    """With threads, of whose number the result does not depend; without any, it would be another."""
    _, most = CompressionParameter.nb_workers.bounds()
    return {
        CompressionParameter.compression_level: _ZSTD_LEVEL,
        CompressionParameter.nb_workers: min(os.cpu_count() or 1, most),
    }


def _packed(
    fill: Callable[[TarWriter], None], target: IO[bytes], compressor: _Compressor
) -> tuple[tuple[str, str], int]:
    """Write an archive, compressed in a thread of its own, since that takes a processor of its own."""
    reading, writing = os.pipe()
    with ThreadPoolExecutor(1, "compression") as pool:
        compressed = pool.submit(_compressed, reading, target, compressor)
        try:
            writer = TarWriter(writing)
            fill(writer)
            writer.finish()
        except BrokenPipeError:  # why, the thread says
            pass
        finally:
            os.close(writing)
        return compressed.result()


def _compressed(reading: int, target: IO[bytes], compressor: _Compressor) -> tuple[tuple[str, str], int]:
    """Compress what comes from a pipe; return the digests before and after compression, and the size after it.

    Pieces are of one size, however the stream comes, since what a compressor makes of them may depend on that.
    """
    before, after, size = hashlib.sha256(), hashlib.sha256(), 0

    def write(piece: bytes) -> int:
        after.update(piece)
        return target.write(piece)

    with os.fdopen(reading, "rb") as source:
        while data := source.read(_PIECE):
            before.update(data)
            size += write(compressor.compress(data))
    size += write(compressor.flush())
    return (f"sha256:{before.hexdigest()}", f"sha256:{after.hexdigest()}"), size
