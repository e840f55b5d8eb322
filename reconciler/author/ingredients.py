"""What an extension is built of: directories, archives, container images, packages, programs."""

from __future__ import annotations

import os
import re
from dataclasses import field
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, Malformed
from reconciler.fetch.content import Layers, content_of_file
from reconciler.fetch.transport import Access, Opening, transport_for
from reconciler.host.assembly import gathering
from reconciler.host.assembly.contents import chunks_of, read
from reconciler.host.assembly.elffiles import elf_of, missing
from reconciler.host.base.digest import file_digest
from reconciler.host.registry.layoutreader import is_layout
from reconciler.host.sources import debs, rpms
from reconciler.model.build.assembly import Assembly, Content, Item
from reconciler.model.config.part import Part
from reconciler.model.content.format import Format
from reconciler.model.content.limits import Limits
from reconciler.model.content.source import Source, Transport, parse_source
from reconciler.model.fit.filekind import FileKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.fetch.content import Content as Opened
    from reconciler.host.sources.packages import Package
    from reconciler.model.content.ociread import Platform
    from reconciler.paths import Paths

_LOCAL: Final = re.compile(r"(?P<transport>oci|oci-archive|docker-archive|dir):(?P<path>[^/].*)")
# What is built here is the builder's own choice: only what must be a bomb is taken for one.
_LIMITS: Final = Limits(size=1 << 40, members=10_000_000, ratio=1000)


class Origin(StrEnum):
    """By which option an ingredient was given."""

    FROM = "--from"
    DEBS = "--debs"
    RPMS = "--rpms"
    BINARY = "--binary"


class Packaging(Protocol):
    """The packages of a family of distributions, which a module of its own knows."""

    SUFFIX: str

    def is_package_name(self, text: str, /) -> bool:
        """Whether it may be a package's name, not a path."""

    def place_of(self, name: str, /) -> str | None:
        """Where the package manager looks for a file of a system."""

    def download(
        self, names: Sequence[str], scratch: Path, root: Path | None, architecture: str, /, *, depends: bool
    ) -> list[Path]:
        """Download packages by name."""

    def open_package(self, file: Path, scratch: Path, /) -> tuple[Package, Path]:
        """Take a package apart."""


_PACKAGINGS: Final[Mapping[Origin, Packaging]] = {Origin.DEBS: debs, Origin.RPMS: rpms}


class Option(NamedTuple):
    """One option of a command line, and what stood behind it."""

    origin: Origin
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ingredient:
    """Something that is laid over those before it."""

    content: Assembly
    is_system: bool = False  # an image, which may have a system in it of which files were deleted
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ingredients:
    """Where ingredients come from, and where what has to be kept of them is kept."""

    paths: Paths
    scratch: Path
    platform: Platform
    strict: bool = False
    depends: bool = True
    _numbers: Iterator[int] = field(default_factory=count)

    def take(self, option: Option, base: Assembly | None) -> Iterator[Ingredient]:
        """What one option brings; packages of the base, the system that the extension is for, need not be brought."""
        match option.origin:
            case Origin.FROM:
                yield from map(self.source, option.words)
            case Origin.DEBS | Origin.RPMS:
                yield from self._packages(option, base)
            case Origin.BINARY:
                yield from map(self._program, option.words)

    def source(self, text: str) -> Ingredient:
        """What a source is, in the words of the configuration or as a path."""
        source = _parse(text)
        if source.transport.is_skopeos:
            return Ingredient(self._image(source), is_system=True)
        if source.is_web:
            hint = "download the file, compare its digest with its publisher's, and give its path"
            raise Invalid(f"{source.text}: is not fetched for a build", hint)
        path = Path(source.reference)
        if path.is_dir():
            return Ingredient(gathering.from_directory(path, but=self.scratch))
        return Ingredient(self._archive(path))

    def _image(self, source: Source) -> Assembly:
        scratch, part = self._directory(), Part(source.text, source, platform=self.platform)
        access = Access(self.paths, os.uname().machine, _LIMITS, scratch_blobs=scratch / "blobs")
        transport = transport_for(part, access)
        found = transport.look_up(part, Format.DIRECTORY)

        def gathered(content: Opened) -> Assembly:
            if not isinstance(content, Layers):
                hint = "push it as it is; an extension is built of a container image, a directory or packages"
                raise Invalid(f"{source.text} is an artifact with a file, not a container image", hint)
            return gathering.from_layers(content.layers, content.blob_of, scratch, _LIMITS)

        return transport.open(Opening(part, found, scratch), gathered)

    def _archive(self, path: Path) -> Assembly:
        if not path.is_file():
            raise Invalid(f"{path}: there is no such file or directory", "check --from; see livelayer-sources(7)")
        for origin, packaging in _PACKAGINGS.items():
            if path.suffix == packaging.SUFFIX:
                raise Invalid(f"{path} is a package", f"give it as: {origin} {path}")
        content = content_of_file(path, file_digest(path), path.name)
        if not isinstance(content, Layers):
            raise Invalid(f"{path} is no tar archive", "give a directory, a tar archive or a container image")
        return gathering.from_layers(content.layers, content.blob_of, self._directory(), _LIMITS)

    def _packages(self, option: Option, base: Assembly | None) -> Iterator[Ingredient]:
        packaging = _PACKAGINGS[option.origin]
        files, names = _sorted_out(option, packaging)
        given = len(files)
        if names:
            root = self._root_of(base, packaging) if base else None
            scratch = self._directory() / "packages"
            files += packaging.download(names, scratch, root, self.platform.architecture, depends=self.depends)
        opened = [packaging.open_package(file, self._directory()) for file in files]
        brought = {package.name for package, _ in opened}
        for number, (package, archive) in enumerate(opened):
            notices = [f"package {package.name} {package.version}", *package.notices]
            left = [it for it in package.depends if it not in brought]
            if left and number < given:  # of what is named, the package manager has brought all that it takes
                notices.append(f"{package.name}: needs packages that are not brought along: {', '.join(left)}")
            yield Ingredient(self._archive(archive), notices=tuple(notices))

    def _root_of(self, base: Assembly, packaging: Packaging) -> Path:
        """What a package manager needs to know of the base, below a directory; links would lead out of it."""
        root = self._directory()
        for name, item in base.files():
            if item.content and (place := packaging.place_of(os.fsdecode(name))):
                path = root / place
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"".join(chunks_of(item.content)))
        return root

    def _program(self, word: str) -> Ingredient:
        """One file, in /usr/bin under its own name."""
        program = Path(word)
        if not program.is_file():
            raise Invalid(f"{program} is no file", "name a program")
        place = program.resolve()
        content = Content(place, 0, place.stat().st_size)
        assembly = Assembly()
        assembly.put(b"usr/bin/" + os.fsencode(program.name), Item(FileKind.FILE, 0o755, content=content))
        elf = elf_of(content)
        if elf is None and read(content, 0, 2) != b"#!":
            raise Invalid(
                f"{word} is neither an ELF program nor a script", "name a program; data goes in a directory"
            )
        if elf and elf.damaged:
            raise Malformed(f"{word} is an ELF file that is damaged or cut off", "fetch or build it again")
        if elf is None or not (wanted := missing(elf, set())):
            return Ingredient(assembly)
        sentence = f"{word} is linked dynamically: it needs {', '.join(wanted)}"
        if self.strict:
            raise Invalid(sentence, "link it statically, or leave out --strict")
        return Ingredient(assembly, notices=(sentence,))

    def _directory(self) -> Path:
        directory = self.scratch / f"source-{next(self._numbers)}"
        directory.mkdir()
        return directory


def _parse(text: str) -> Source:
    """A path is as good as file://, and may be a relative one."""
    if match := _LOCAL.fullmatch(text):
        text = f"{match['transport']}:{Path.cwd()}/{match['path']}"
    if "://" not in text and (text.startswith(("/", ".")) or Path(text).exists()):
        path = Path(text).absolute()
        return Source(Transport.OCI if is_layout(path) else Transport.FILE, str(path))
    try:
        return parse_source(text)
    except ValueError as error:
        what = error if ":" in text else f"{text}: there is no such file or directory, and it names no transport"
        raise Invalid(
            f"--from: {what}", "a source is a path or as in the configuration, see livelayer-sources(7)"
        ) from error


def _sorted_out(option: Option, packaging: Packaging) -> tuple[list[Path], list[str]]:
    """Files, in the order given and by name in a directory; and names for the package manager."""
    files: list[Path] = []
    names: list[str] = []
    for word in option.words:
        path = Path(word)
        if path.is_dir():
            found = sorted(path.glob(f"*{packaging.SUFFIX}"))
            if not found:
                what = f"{option.origin}: there is no *{packaging.SUFFIX} in {path}"
                raise Invalid(what, "name a directory of packages")
            files += found
        elif word.endswith(packaging.SUFFIX):
            files.append(path)
        elif packaging.is_package_name(word):
            names.append(word)
        else:
            what = f"{option.origin}: {word!r} is neither a directory, a file nor a package"
            raise Invalid(what, "see livelayer(8)")
    return files, names
