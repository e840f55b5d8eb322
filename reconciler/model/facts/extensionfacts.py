"""All that is known of an extension without merging it: what `inspect` shows and `lint` judges."""

from __future__ import annotations

import posixpath
from dataclasses import field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.model.facts.powers import abilities, restarts
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.filetree import STRICT, FileTree, read_contents
from reconciler.model.fit.permissions import Permissions
from reconciler.model.fit.release import LAX_SINCE
from reconciler.model.fit.symlinks import follow
from reconciler.model.kind import RELEASE_PREFIX, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.model.content.format import Payload
    from reconciler.model.facts.powers import Ability
    from reconciler.model.facts.program import Program
    from reconciler.model.fit.contents import Contents
    from reconciler.model.images.imageformat import ImageFormat
    from reconciler.model.images.veritysignature import VeritySignature

SETUID: Final = 0o4000
SETGID: Final = 0o2000
STICKY: Final = 0o1000


@dataclass(frozen=True, slots=True)
class File:
    """One name in the tree: of what an archive or a directory has, what rules and readers need, as text.

    The attributes themselves are left behind, as a listing may have a million names.
    """

    kind: FileKind
    mode: int = 0o644  # permissions with setuid, setgid and sticky bit
    uid: int = 0
    gid: int = 0
    size: int = 0  # bytes; of a further hard link 0
    mtime: int = 0  # seconds since the epoch
    target: str = ""  # of a symbolic link
    label: str | None = None  # the SELinux context
    has_capabilities: bool = False
    steers_overlay: bool = False  # has an extended attribute of overlayfs
    is_lax: bool = False  # says of itself, if it is a release file, that the extension's name does not matter
    program: Program | None = None
    content: bytes | None = None  # or its beginning, where it decides something

    @property
    def permissions(self) -> Permissions | None:
        """Who may look into it, if it is a directory."""
        return Permissions(self.mode, self.uid, self.gid) if self.kind is FileKind.DIRECTORY else None

    @property
    def text(self) -> str | None:
        return None if self.content is None else self.content.decode(errors="replace")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an extension came from, and as what."""

    subject: str  # as the user named it, without a password
    payload: Payload
    stem: str | None = None  # the name that systemd would give it by its file's; None: it has no file's
    digest: str | None = None  # of this platform's manifest, the file or the directory, as `status` has it
    index_digest: str | None = None  # of the index that the source names, if it names one
    packed: int | None = None  # bytes as it is transferred
    image: ImageFormat | None = None  # what the image file is
    signature: VeritySignature | None = None  # of a disk image
    knows_owners: bool = True  # False: it was unpacked by somebody who cannot give files away
    knows_attributes: bool = True  # False: by a program that drops extended attributes


@dataclass(frozen=True, slots=True)
class Clash:
    """Where one has a directory and the other has none, so that they cannot be merged."""

    path: str  # absolute
    host: FileKind

    def __str__(self) -> str:
        if self.host is FileKind.DIRECTORY:
            return f"{self.path} is a directory on this host and none in it, and would hide all that is there"
        content = "whose content it would hide" if self.host is FileKind.SYMLINK else "which it would hide"
        return f"{self.path} is a directory in it and a {self.host.noun} on this host, {content}"

    @property
    def hint(self) -> str:
        if self.host is FileKind.SYMLINK:
            return "put the files where the link leads"
        return "make it a directory, too" if self.host is FileKind.DIRECTORY else "give the directory another name"


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A directory of both that would let fewer people in than the host's does."""

    path: str  # absolute
    own: Permissions
    host: Permissions

    def __str__(self) -> str:
        return (
            f"{self.path} has mode and owner {self.own} in it and {self.host} on this host, and would lock users out"
        )


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What was asked of the file system of this host; what is not in `has` was not there."""

    has: frozenset[str] = frozenset()  # absolute paths
    hidden: tuple[str, ...] = ()  # files of the host that the extension has, too, absolute
    clashes: tuple[Clash, ...] = ()
    narrowed: tuple[Narrowed, ...] = ()
    abilities: tuple[Ability, ...] = ()  # what it can do because of what the host has
    is_known: bool = False  # False: there is none, or it has merged extensions and what lies below cannot be seen


@dataclass(frozen=True)
class ExtensionFacts:
    """An extension as it would be merged."""

    origin: Origin
    kind: Kind
    files: Mapping[str, File]  # by path, without a leading slash
    host: HostFacts = field(default_factory=HostFacts)
    asked_name: str | None = None  # what the user wants it to be called
    now: int = 0  # seconds since the epoch
    wants_signature: bool = False

    @cached_property
    def contents(self) -> Contents:
        return replace(read_contents(ListedFiles(self.files), self.kind), image=self.origin.image)

    @property
    def name(self) -> str | None:
        """What the extension is called: as asked, or as its only release file says, or as its file."""
        releases = self.contents.releases
        if self.asked_name or len(releases) != 1:
            return self.asked_name or self.origin.stem
        return next(iter(releases))

    @property
    def release(self) -> Mapping[str, str]:
        """The fields of its release file; none where there is none for its name."""
        return self.contents.release_of(self.name or "", LAX_SINCE) or {}

    @property
    def release_path(self) -> str:
        """Where its release file is, or ought to be."""
        return f"{self.kind.traits.releases}/{RELEASE_PREFIX}{self.name or 'NAME'}"

    @cached_property
    def unpacked(self) -> int:
        return sum(file.size for file in self.files.values())

    @cached_property
    def abilities(self) -> tuple[Ability, ...]:
        """What it can do to a host beyond having files there."""
        paths = [path for path, file in self.files.items() if file.kind is not FileKind.DIRECTORY]
        return (
            *abilities(paths, self._whole_text, self.links),
            *restarts(self.contents, self.kind, paths, self.links),
            *self.host.abilities,
        )

    def _whole_text(self, path: str) -> str | None:
        """What of a file was not read may say anything."""
        file = self.files[path]
        return file.text if file.content is not None and len(file.content) >= file.size else None

    @cached_property
    def links(self) -> dict[str, str]:
        """The targets of its symbolic links."""
        return {path: file.target for path, file in self.of_kind(FileKind.SYMLINK)}

    def of_kind(self, kind: FileKind) -> Iterator[tuple[str, File]]:
        return ((path, file) for path, file in self.files.items() if file.kind is kind)

    def below(self, directory: str) -> Iterator[tuple[str, File]]:
        return ((path, file) for path, file in self.files.items() if path.startswith(f"{directory}/"))

    def covers(self, path: str) -> bool:
        """Whether an absolute path lies in a hierarchy that extensions of this kind are merged into."""
        return path.lstrip("/").partition("/")[0] in self.kind.traits.tops

    def has(self, path: str) -> bool:
        """Whether an absolute path leads to something, in the extension or on this host; /bin is /usr/bin."""
        place = resolve(self.files, path)
        if place is None:
            return False
        return not {place, f"usr/{place}"}.isdisjoint(self.files) or not {path, f"/{place}"}.isdisjoint(self.host.has)


class ListedFiles(FileTree):
    """The files as a tree to look into."""

    def __init__(self, files: Mapping[str, File]) -> None:
        super().__init__()
        self._files = files

    def listed(self, directory: str) -> Mapping[str, FileKind]:
        children = {path.rpartition("/"): file.kind for path, file in self._files.items()}
        return {name: kind for (parent, _, name), kind in children.items() if parent == directory}

    def read(self, path: str, most: int) -> bytes:
        return (self._files[path].content or b"")[:most]

    def xattr(self, path: str, name: str) -> bytes:
        """See FileTree; of one attribute all is known that matters."""
        return b"false" if name == STRICT and self._files[path].is_lax else b""


def with_parents(files: Mapping[str, File]) -> dict[str, File]:
    """The files, and the directories that lead to them and that nobody described, in the order of their names."""
    found = dict(files)
    for path in files:
        parent = path.rpartition("/")[0]
        while parent and parent not in found:
            found[parent] = File(FileKind.DIRECTORY, 0o755)
            parent = parent.rpartition("/")[0]
    return dict(sorted(found.items()))


def kind_of(paths: Iterable[str]) -> Kind:
    """What a tree extends, by its release files, else by what it has at the top."""
    known = list(paths)
    for kind in Kind:
        prefix = f"{kind.traits.releases}/{RELEASE_PREFIX}"
        if any(path.startswith(prefix) for path in known):
            return kind
    tops = {path.partition("/")[0] for path in known}
    return Kind.CONFEXT if "etc" in tops and not tops & Kind.SYSEXT.traits.tops else Kind.SYSEXT


def resolve(files: Mapping[str, File], path: str) -> str | None:
    """Where a path leads in the tree, from the root that it will be merged into; None: links lead in a circle."""

    def target_of(place: str) -> str | None:
        file = files.get(place)
        return file.target if file and file.kind is FileKind.SYMLINK else None

    return follow(path, target_of)


def link_target(path: str, target: str) -> str:
    """The absolute path that a link's target means, as it is written."""
    return posixpath.normpath(posixpath.join("/", posixpath.dirname(path), target))


def climbs_out(path: str, target: str) -> bool:
    """Whether a relative target has more `..` than there are directories above it."""
    depth = 0 if target.startswith("/") else path.count("/")
    for part in target.split("/"):
        depth += -1 if part == ".." else part not in {"", "."}
        if depth < 0:
            return True
    return False


def host_paths(facts: ExtensionFacts) -> set[str]:
    """The absolute paths outside the extension that its links and programs need: what to ask of a host."""
    wanted = {
        f"/{place}"
        for path, file in facts.of_kind(FileKind.SYMLINK)
        if (place := resolve(facts.files, f"/{path}")) is not None
    }
    programs = (file.program for file in facts.files.values() if file.program)
    for interpreter in {program.interpreter for program in programs if program.interpreter}:
        wanted |= {interpreter, f"/{resolve(facts.files, interpreter) or ''}"}
    return {path for path in wanted if path.startswith("/") and path.isprintable()}
