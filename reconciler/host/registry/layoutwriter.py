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
import threading
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from reconciler.errors import Failed, Malformed
from reconciler.host.tar.writer import TarWriter
from reconciler.model.content import ociwrite
from reconciler.model.content.ociread import EMPTY_CONFIG, IMAGE_CONFIG
from reconciler.model.content.ociwrite import Blob, Compression, blob_of

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
        self._blobs = directory / "blobs/sha256"
        with self._writing():
            if directory.exists() and any(directory.iterdir()):
                raise Malformed(f"{directory} is not empty", "name a directory that does not exist yet")
            self._blobs.mkdir(parents=True)

    def add_image(
        self, fill: Callable[[TarWriter], None], about: About, compression: Compression = Compression.GZIP
    ) -> Blob:
        """Write a container image of one layer; `fill` adds its members, in an order of its own.

        Returns:
            Its manifest, for `finish`.
        """
        with self._writing():
            diff_id, layer = self._layer(fill, compression)
            config = self._document(IMAGE_CONFIG, ociwrite.config_document(about, [diff_id]))
            return self._manifest(ociwrite.image_manifest(about, config, [layer]), about)

    def add_artifact(self, file: Path, title: str, media_type: str, about: About) -> Blob:
        """Write an artifact whose only layer is a file, as it is.

        Args:
            file: read once.
            title: the name that the file is to get where it is pulled.
            media_type: of the file, and of the artifact as a whole.
            about: what is said of it; its labels have no place in an artifact.

        Returns:
            Its manifest, for `finish`.
        """
        with self._writing():
            with self._staged() as out, file.open("rb") as content:
                (_, digest), size = _copied(content, out, _Unchanged())
                layer = self._keep(out, Blob(media_type, digest, size))
            self._document(EMPTY_CONFIG, ociwrite.NO_CONFIG)
            manifest = ociwrite.artifact_manifest(about, media_type, ociwrite.titled(layer, title))
            return self._manifest(manifest, about)

    def adopt(self, blob_of: Callable[[str], Path], blobs: Iterable[str]) -> None:
        """Take blobs of another layout, which are checked where they are sent to.

        Args:
            blob_of: where a blob lies, by its digest.
            blobs: their digests.
        """
        with self._writing():
            for digest in blobs:
                target = self._blobs / digest.removeprefix("sha256:")
                if not target.exists():
                    shutil.copyfile(blob_of(digest), target)

    def finish(self, *images: Blob, name: str | None = None, annotations: Mapping[str, str] | None = None) -> Blob:
        """Write the layout's index, under `name` if there is one; several images become one for several platforms.

        Args:
            images: what was added.
            name: what the layout calls it.
            annotations: of the index of several platforms.

        Returns:
            What the layout holds: the manifest of a sole image, or the index of several.
        """
        with self._writing():
            index = ociwrite.index_document(images, annotations)
            held = images[0] if len(images) == 1 else self._document(ociwrite.INDEX, index)
            (self._directory / "oci-layout").write_bytes(ociwrite.LAYOUT)
            (self._directory / "index.json").write_bytes(ociwrite.index_document([held.named(name)]))
            return held

    def _layer(self, fill: Callable[[TarWriter], None], compression: Compression) -> tuple[str, Blob]:
        """A layer's diff_id and the layer."""
        found: list[tuple[tuple[str, str], int]] = []
        with self._staged() as out:
            compressor = _compressor(compression)
            with _pipe(lambda source: found.append(_copied(source, out, compressor))) as sink:
                writer = TarWriter(sink)
                fill(writer)
                writer.finish()
            (diff_id, digest), size = found[0]
            return diff_id, self._keep(out, Blob(compression.layer_type, digest, size))

    def _manifest(self, content: bytes, about: About) -> Blob:
        blob = self._document(ociwrite.MANIFEST, content)
        return Blob(blob.media_type, blob.digest, blob.size, platform=about.platform)

    def _document(self, media_type: str, content: bytes) -> Blob:
        blob = blob_of(media_type, content)
        self._place(blob).write_bytes(content)
        return blob

    def _keep(self, file: IO[bytes], blob: Blob) -> Blob:
        file.flush()
        os.fchmod(file.fileno(), 0o644)
        Path(file.name).replace(self._place(blob))
        return blob

    def _place(self, blob: Blob) -> Path:
        return self._blobs / blob.digest.removeprefix("sha256:")

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
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> Failed:
        """By the name in it, what is read is told from what is written."""
        culprit = Path(os.fsdecode(error.filename or self._directory))
        ours = culprit.is_relative_to(self._directory)
        hint = f"look at the space and mode of {self._directory}" if ours else "look at its mode and its disk"
        return Failed.of(error, str(culprit), hint)


class _Compressor(Protocol):
    """As zlib's and zstd's are, one frame for a layer."""

    def compress(self, data: bytes, /) -> bytes:
        """What is ready of all that was given."""

    def flush(self) -> bytes:
        """The rest."""


class _Unchanged:
    """Keeps content as it is."""

    @staticmethod
    def compress(data: bytes, /) -> bytes:
        """All of it."""
        return data

    @staticmethod
    def flush() -> bytes:
        """Nothing is left."""
        return b""


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


def _copied(source: IO[bytes], target: IO[bytes], compressor: _Compressor) -> tuple[tuple[str, str], int]:
    """Copy a stream; return the digests before and after compression, and the size after it.

    Pieces are of one size, however the stream comes, since what a compressor makes of them may depend on that.
    """
    before, after, size = hashlib.sha256(), hashlib.sha256(), 0

    def write(piece: bytes) -> int:
        after.update(piece)
        return target.write(piece)

    while data := source.read(_PIECE):
        before.update(data)
        size += write(compressor.compress(data))
    size += write(compressor.flush())
    return (f"sha256:{before.hexdigest()}", f"sha256:{after.hexdigest()}"), size


@contextmanager
def _pipe(take: Callable[[IO[bytes]], None]) -> Iterator[int]:
    """A descriptor to write to; `take` reads what is written in a thread: compression takes a core of its own."""
    reading, writing = os.pipe()
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with os.fdopen(reading, "rb") as source:  # once it is closed, who writes on gets a BrokenPipeError
                take(source)
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    thread = threading.Thread(target=work, name="compression", daemon=True)
    thread.start()
    try:
        yield writing
    except BrokenPipeError:
        thread.join()
        raise failures[0] from None
    finally:
        os.close(writing)
        thread.join()
    if failures:
        raise failures[0]
