"""The images that fetching is measured with, made once and kept: OCI layouts and their uncompressed archives."""

from __future__ import annotations

import hashlib
import io
import json
import random
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.rig.images import write_image_of_tars
from tests.rig.once import CACHE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SUITE: Final = "bookworm"
# A compiler suite with its headers: about 1.9 GB in 65,000 files.
_COMPILERS: Final = (
    "build-essential,clang-14,golang-go,rustc,cargo,libboost1.74-dev,linux-headers-amd64,cmake,git,python3-dev"
)
_RELEASE: Final = "usr/lib/extension-release.d/extension-release."
_ANY_HOST: Final = b"ID=_any\n"
_LAYERS: Final = 10
_LAYER_FILES: Final = 100
_LAYER_BYTES: Final = 20 << 20
_TYPICAL_FILES: Final = 300
_TYPICAL_BYTES: Final = 100 << 20
_WORDS: Final = 1 << 12  # of eight random bytes each, drawn at random: gzip leaves 0.6 of that


@dataclass(frozen=True, slots=True)
class Workload:
    """One image, in a layout under the tag `latest`; its name is the extension's."""

    name: str
    directory: Path

    @property
    def layout(self) -> Path:
        """The OCI layout."""
        return self.directory / "layout"

    @property
    def tars(self) -> list[Path]:
        """The layers, uncompressed, lowest first."""
        return sorted((self.directory / "tars").iterdir())

    @property
    def digests(self) -> list[str]:
        """The layers as they are in the registry, by the names of their blobs, lowest first."""
        index = json.loads((self.layout / "index.json").read_bytes())
        manifest = json.loads(self._blob(index["manifests"][0]["digest"]).read_bytes())
        return [layer["digest"].removeprefix("sha256:") for layer in manifest["layers"]]

    @property
    def size(self) -> int:
        """Bytes of all layers as they are in the registry."""
        return sum(self._blob(digest).stat().st_size for digest in self.digests)

    def _blob(self, digest: str) -> Path:
        return self.layout / "blobs/sha256" / digest.removeprefix("sha256:")


def big() -> Workload:
    """`/usr` of a Debian with compilers, in one layer."""
    return _kept("big", _COMPILERS, _big_tar)


def typical() -> Workload:
    """100 MB in 300 files, in one layer."""
    return _kept("typical", "", _typical_tar)


def ten_layers(*, changed: bool) -> Workload:
    """200 MB in 1000 files, in ten layers; `changed` has another one in the middle."""
    seeds = [layer + 100 * (changed and layer == _LAYERS // 2) for layer in range(_LAYERS)]
    return _kept("ten", "changed" if changed else "", lambda tars: _ten_tars(tars, seeds))


def _kept(name: str, variant: str, make: Callable[[Path], None]) -> Workload:
    """The image of the archives that `make` writes into a directory; complete or absent."""
    key = hashlib.sha256(variant.encode()).hexdigest()[:8]
    workload = Workload(name, CACHE / f"bench-{name}-{key}")
    if not workload.directory.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            begun = Workload(name, Path(scratch, "image"))
            (begun.directory / "tars").mkdir(parents=True)
            make(begun.directory / "tars")
            write_image_of_tars(begun.layout, "latest", begun.tars)
            begun.directory.rename(workload.directory)
    return workload


def _big_tar(tars: Path) -> None:
    with tempfile.TemporaryDirectory(dir=tars.parent) as scratch:
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={_COMPILERS}", _SUITE, f"{scratch}/root"]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        release = Path(scratch, "root", f"{_RELEASE}big")
        release.parent.mkdir(exist_ok=True)
        release.write_bytes(_ANY_HOST)
        # An extension with an os-release of its own would pass for a host.
        options = ["--sort=name", "--numeric-owner", "--exclude=usr/lib/os-release", f"--directory={scratch}/root"]
        subprocess.run(["tar", "--create", f"--file={tars}/0.tar", *options, "usr"], check=True)


def _typical_tar(tars: Path) -> None:
    _random_tar(tars / "0.tar", "typical", _TYPICAL_FILES, _TYPICAL_BYTES, 0)


def _ten_tars(tars: Path, seeds: list[int]) -> None:
    for layer, seed in enumerate(seeds):
        name = "ten" if layer == 0 else ""
        _random_tar(tars / f"{layer}.tar", name, _LAYER_FILES, _LAYER_BYTES, seed, f"usr/share/ten/{layer}")


def _random_tar(path: Path, name: str, count: int, size: int, seed: int, where: str = "usr/lib/typical") -> None:  # noqa: PLR0913, PLR0917 - all is data
    """Files of which a few are large and most small, as in what people package; a release file if there is a name."""
    chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
    shares = [chance.paretovariate(1.0) for _ in range(count)]
    with tarfile.open(path, "w") as archive:
        for number, share in enumerate(shares):
            _add(archive, f"{where}/{number}", b"".join(_content(chance, int(size * share / sum(shares)))))
        if name:
            _add(archive, f"{_RELEASE}{name}", _ANY_HOST)


def _content(chance: random.Random, size: int) -> Iterator[bytes]:
    words = [chance.randbytes(8) for _ in range(_WORDS)]
    for _ in range(size // 8):
        yield chance.choice(words)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))
