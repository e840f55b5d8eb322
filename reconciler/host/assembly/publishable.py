"""What can be pushed: directories, image files, OCI layouts; what is in them, and whether they stay as they are."""

from __future__ import annotations

import os
import stat
import tempfile
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import Failed, Invalid
from reconciler.host.base.walk import walk
from reconciler.host.images.directorytree import DirectoryTree
from reconciler.host.images.inspect import architecture_of, inspect_image
from reconciler.host.images.payload import payload_in
from reconciler.host.images.rawfile import decompressed
from reconciler.host.layers.flatten import in_one_pass
from reconciler.host.registry.layoutreader import is_layout
from reconciler.host.store.packed import PackedTree, ReleaseKeeper
from reconciler.model.build.publication import Subject
from reconciler.model.content.format import Payload
from reconciler.model.content.limits import DEFAULT
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.filetree import read_contents
from reconciler.model.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.host.layers.flatten import Flattened
    from reconciler.host.registry.layoutreader import LayoutImage, LayoutReader
    from reconciler.model.fit.contents import Contents

_SUFFIXES: Final = (".gz", ".xz", ".zst", ".bz2", ".raw", ".sysext", ".confext")  # outermost first


class Form(StrEnum):
    """What something that can be pushed is."""

    TREE = "directory"
    FILE = "image file"
    LAYOUT = "OCI layout"


def form_of(path: Path) -> Form:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise Invalid(f"{path}: there is no such file or directory", "name what is to be pushed") from error
    except OSError as error:
        raise Failed.of(error, f"{path}: cannot be read", "look at its mode and its disk") from error
    if stat.S_ISDIR(mode):
        return Form.LAYOUT if is_layout(path) else Form.TREE
    if not stat.S_ISREG(mode):
        raise Invalid(f"{path} is neither a file nor a directory", "name what is to be pushed")
    return Form.FILE


def look_into_tree(path: Path) -> Subject:
    tree = DirectoryTree(path)
    return _subject(path, lambda kind: read_contents(tree, kind))


def look_into_file(path: Path, scratch: Path, shown: Path | None = None) -> Subject:
    """An extension as an image file, compressed or not; `shown` is its name in messages, if that is not its path."""
    name = shown or path
    if payload_in(path) is Payload.TAR:
        raise Invalid(f"{name} is a tar archive", "unpack it into a directory, and push that")
    workplace = Path(tempfile.mkdtemp(dir=scratch))
    image = decompressed(path, workplace / "image.raw", DEFAULT)
    architecture = architecture_of(image)
    return _subject(name, lambda kind: inspect_image(image, kind, workplace, architecture), architecture)


def look_into_image(image: LayoutImage, layout: LayoutReader, scratch: Path, shown: Path) -> Subject | None:
    """An extension as a container image or artifact; None where one pass does not show what it holds."""
    if image.content.is_artifact:
        return look_into_file(layout.blob(image.content.sole_file(str(shown)).digest), scratch, shown)
    releases = ReleaseKeeper(*(kind.traits.releases for kind in Kind))

    def names_of(flattened: Flattened) -> Mapping[bytes, FileKind]:
        for _, chunks in releases.watch(flattened.members):
            for _ in chunks:  # which is checked on the way
                pass
        return flattened.names

    names = in_one_pass(image.content.layers, layout.blob, DEFAULT, names_of)
    if names is None or _carries_a_file(names):
        return None
    tree = PackedTree(names, releases)
    return _subject(shown, lambda kind: read_contents(tree, kind))


def _carries_a_file(names: Mapping[bytes, FileKind]) -> bool:
    """Whether an image has but one file, where no extension has any: what `format: raw` takes."""
    files = [name for name, kind in names.items() if kind is FileKind.FILE]
    tops = {top.encode() for kind in Kind for top in kind.traits.tops}
    return len(files) == 1 and files[0].partition(b"/")[0] not in tops


def _subject(path: Path, look: Callable[[Kind], Contents], architecture: str | None = None) -> Subject:
    """As the kind that its release file is for; one that has none is taken for a system extension."""
    contents = look(Kind.SYSEXT)
    if not contents.releases and (other := look(Kind.CONFEXT)).releases:
        return Subject(str(path), _stem(path), Kind.CONFEXT, other, architecture)
    return Subject(str(path), _stem(path), Kind.SYSEXT, contents, architecture)


def _stem(path: Path) -> str:
    """The name without what tells the format."""
    name = own_name(path)
    for suffix in _SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def own_name(path: Path) -> str:
    """The last part of a path as the user wrote it: of a link, its own; of `.` and the like, the directory's."""
    name = path.name if path.name not in {"", ".."} else path.resolve().name
    return os.fsencode(name).decode(errors="replace")


def fingerprint(path: Path) -> tuple[int, int]:
    """What tells whether a file or directory has changed, and the time of its latest content, in seconds."""
    latest, found = 0, 0
    try:
        for name, it in walk(os.fsencode(path.resolve())):
            latest = max(latest, int(it.st_mtime))
            found = hash((found, name, it.st_ino, it.st_mode, it.st_size, it.st_mtime_ns, it.st_ctime_ns))
    except OSError as error:
        raise Failed.of(error, f"{path}: cannot be read", "look at its mode and its disk") from error
    return found, latest
