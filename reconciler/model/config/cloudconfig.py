"""Kairos's cloud-configs as desired state: what they say about extensions, in the words of livelayer's own document.

Read are `install.bundles`, `bundles`, `install.extensions`, `extensions.catalogs` and `livelayer`, nothing else. What
Kairos would take and livelayer does not, such as `run://` bundles, is reported and left alone; what Kairos would
refuse, too, is a mistake, for which the item is passed over alone.
"""

from __future__ import annotations

import posixpath
import re
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, Mistake, quoted, shortened
from reconciler.model.config.catalogentry import DEFAULT_CATALOG, NotTaken, catalog_url, read_entry
from reconciler.model.config.merge import CloudParts, Fragment, KeyPath, Mark, Tree
from reconciler.model.kind import Kind, is_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T", bound=dict[str, Any] | list[Any])
_SENTENCE_MAX: Final = 1000  # characters, however long a value is that it names
_SOMEWHERE: Final = Mark("cloud-config", 1, 1)

PARTS: Final[tuple[KeyPath, ...]] = (
    ("install", "bundles"),
    ("install", "extensions"),
    ("bundles",),
    ("extensions", "catalogs"),
    ("livelayer",),
)
# A file without any of these words has nothing to say here, whatever else is wrong with it.
MENTIONS: Final = (b"bundles", b"extensions", b"livelayer")
_HEADERS: Final = frozenset({b"#cloud-config", b"#kairos-config", b"#node-config"})
_HEADER_LINES: Final = 10  # of a file, in which the header may stand
_STAND_IN: Final = "\ue000"  # of Unicode's private use, so that nobody's value has it
_NOTHING: Final = f" \t{_STAND_IN}"
_SLASHES: Final = re.compile("/+")
_DESTINATION: Final = re.compile(r"/var/lib/(?P<kind>extensions|confexts)/(?P<name>[^/]+)")
_SEARCHED: Final = re.compile(r"/(?:extensions|confexts)(?:/|$)")  # by systemd, or nearly so
_KINDS: Final = {"extensions": Kind.SYSEXT, "confexts": Kind.CONFEXT}
_TAKEN: Final = "livelayer takes bundles for /var/lib/extensions/NAME and /var/lib/confexts/NAME"
_IMAGE_SCHEMES: Final = frozenset({"container", "docker"})


def has_header(text: bytes) -> bool:
    """Whether a file is a cloud-config: one of the headers is a whole line among the first ten."""
    return any(line.rstrip() in _HEADERS for line in text.split(b"\n", _HEADER_LINES)[:_HEADER_LINES])


def without_templates(text: str) -> str:
    """YAML with Go's templates replaced by what is valid in their place; lines of nothing else become empty.

    Each template is replaced by as many characters, so that lines and columns stay.
    """
    return "\n".join(map(_without_templates, text.split("\n")))


def _without_templates(line: str) -> str:
    """Each template ends in the line where it begins. No pattern: one would look for the end from each beginning."""
    parts, at = [], 0
    while (start := line.find("{{", at)) >= 0 and (end := line.find("}}", start + 2)) >= 0:
        parts += [line[at:start], _STAND_IN * (end + 2 - start)]
        at = end + 2
    replaced = "".join((*parts, line[at:]))
    return replaced if not parts or replaced.strip(_NOTHING) else ""


@dataclass(frozen=True, slots=True)
class _Item:
    """An item of a list, and the file it is from."""

    value: Any
    fragment: Fragment = field(compare=False)
    path: KeyPath = field(compare=False)

    def mark(self, *below: str | int) -> Mark:
        return self.fragment.place((*self.path, *below)) or _SOMEWHERE

    def sentence(self, what: str, *below: str | int) -> str:
        """What is to be said of it, with place and key."""
        key = ".".join(str(part) for part in (*self.path, *below))
        return shortened(f"{self.mark(*below)}: {key}: {what}", _SENTENCE_MAX)


def translate(fragments: Sequence[Fragment]) -> CloudParts:
    """What cloud-configs ask for, the first lowest."""
    merged: Any = {}
    translator = _Translator(fragments)
    documents = []
    for fragment in fragments:
        with translator.passing_over(fragment):
            merged = _merge(merged, _marked(fragment), fragment, ())
        with translator.passing_over(fragment):
            if fragment.tree.get("livelayer") is not None:
                documents.append(_document(fragment))
    translator.take(merged)
    return CloudParts(
        (translator.fragment(), *documents),
        tuple(translator.warnings),
        tuple(dict.fromkeys(translator.notes)),
        tuple(translator.mistakes),
        tuple(("extensions", name) for name in sorted(translator.damaged)),
        tuple(dict.fromkeys(translator.unknown)),
        tuple(dict.fromkeys(translator.broken)),
    )


def _document(fragment: Fragment) -> Fragment:
    """What stands under `livelayer:`, a document like the main file."""
    tree, path = fragment.tree["livelayer"], ("livelayer",)
    if not isinstance(tree, dict):
        raise Mistake(f"{fragment.place(path)}: livelayer: must be a map", "it has the keys of livelayer.yaml(5)")
    if isinstance(settings := tree.get("settings"), dict) and "cloud_config" in settings:
        where = fragment.place(("livelayer", "settings", "cloud_config"))
        hint = "set it in /etc/livelayer"
        raise Mistake(f"{where}: livelayer.settings.cloud_config: a cloud-config cannot say where they are", hint)
    marks = {key[1:]: mark for key, mark in fragment.marks.items() if key[:1] == path}
    return Fragment(tree, marks)


def _marked(fragment: Fragment) -> Tree:
    """The tree without `livelayer`, with lists whose items know where they are from."""

    def convert(value: Any, path: KeyPath) -> Any:  # noqa: ANN401 - any YAML value
        match value:
            case dict():
                return {key: convert(it, (*path, key)) for key, it in value.items()}
            case list():
                return [_Item(it, fragment, (*path, index)) for index, it in enumerate(value)]
            case _:
                return value

    return {key: convert(value, (key,)) for key, value in fragment.tree.items() if key != "livelayer"}


def _merge(below: Any, above: Any, fragment: Fragment, path: KeyPath) -> Any:  # noqa: ANN401 - any YAML values
    """Kairos's rule: maps deep, scalars replace, lists of maps are joined, other lists united; null empties."""
    match below, above:
        case None, _:
            return above
        case ((dict() | list()), None):
            return type(below)()
        case dict(), dict():
            return below | {key: _merge(below.get(key), it, fragment, (*path, key)) for key, it in above.items()}
        case list(), list():
            joined = bool(below) and isinstance(below[0].value, dict)
            return [*below, *(item for item in above if joined or item not in below)]
        case (dict() | list(), _) | (_, dict() | list()):
            key = ".".join(map(str, path))
            what = "cannot be merged with what another file has there, which is of another kind"
            raise Mistake(f"{fragment.place(path)}: {key}: {what}", "let it be the same kind in all cloud-configs")
        case _:
            return above


class _Translator:
    """Collects what becomes an extension, what does not, and what is wrong."""

    def __init__(self, fragments: Sequence[Fragment]) -> None:
        self._fragments = fragments
        self.mistakes: list[Invalid] = []
        self.warnings: list[str] = []
        self.notes: list[str] = []
        self.damaged: set[str] = set()  # extensions of which a part is wrong
        self.unknown: list[str] = []  # files with a mistake of which nobody knows what extension it is about
        self.broken: list[str] = []
        self._trees: dict[str, Tree] = {}
        self._marks: dict[KeyPath, Mark] = {}
        self._catalogs: list[str] = []

    def take(self, merged: Tree) -> None:
        install = self._of(dict, merged.get("install"), "install")
        for key, bundles in (("install.bundles", install.get("bundles")), ("bundles", merged.get("bundles"))):
            for item in self._of(list, bundles, key):
                self._bundle(item)
        for item in self._of(list, install.get("extensions"), "install.extensions"):
            with self._collecting(item):
                self._extension(item)
        if any(str(tree["source"]).startswith("catalog:") for tree in self._trees.values()):
            below = self._of(dict, merged.get("extensions"), "extensions")
            self._take_catalogs(self._of(list, below.get("catalogs"), "extensions.catalogs"))

    def fragment(self) -> Fragment:
        """As a part of livelayer's own document."""
        whole = {name: tree for name, tree in self._trees.items() if name not in self.damaged}
        tree: Tree = {"extensions": {name: _plain(tree) for name, tree in whole.items()}}
        if self._catalogs:
            tree["settings"] = {"catalogs": self._catalogs}
        return Fragment(tree, self._marks)

    def _of(self, kind: type[T], value: Any, key: str) -> T:  # noqa: ANN401 - any YAML value
        """A map or a list; an empty one if there is none, or in place of what is a mistake."""
        if isinstance(value, kind):
            return value
        if value is not None:
            noun = "a map" if issubclass(kind, dict) else "a list"
            what = f"{self._place(key)}: {key}: must be {noun} in a cloud-config, not {value!r}"
            self.mistakes.append(Mistake(what, "correct the file"))
            self.unknown.append(self._place(key).file)
        return kind()

    def _place(self, key: str) -> Mark:
        """In the last file that has the key, whose value counts where files differ in its kind."""
        path = tuple(key.split("."))
        marks = (fragment.marks.get(path) for fragment in reversed(self._fragments))
        return next(filter(None, marks), _SOMEWHERE)

    @contextmanager
    def passing_over(self, fragment: Fragment) -> Iterator[None]:
        """What is wrong with what a file says as a whole keeps nobody from reading the others."""
        try:
            yield
        except Invalid as error:
            self.mistakes.append(error)
            self.broken += [mark.file for mark in [fragment.place(())] if mark]

    def _wrong(self, item: _Item, what: str, hint: str, *below: str | int, of: str | None = None) -> None:
        """A mistake, of an extension if that is known. An extension of which a part is wrong is none."""
        self.mistakes.append(Mistake(item.sentence(what, *below), hint))
        if of is None:
            self.unknown.append(item.mark().file)
        else:
            self.damaged.add(of)

    def _bundle(self, item: _Item) -> None:
        """One bundle: a list of images to be unpacked to one place."""
        root = item.value.get("rootfs_path") or "/" if isinstance(item.value, dict) else None
        if not isinstance(root, str):
            self._wrong(item, "a bundle is a map with targets and rootfs_path", "correct the bundle")
            return
        match = _DESTINATION.fullmatch(posixpath.normpath(_SLASHES.sub("/", root)))
        if match is None:
            targets = item.value.get("targets")
            shown = ", ".join(map(str, targets)) if isinstance(targets, list) else "a bundle"
            if _SEARCHED.search(root):
                self.warnings.append(item.sentence(f"{shown} for {root}: not taken; {_TAKEN}"))
            else:
                self.notes.append(item.sentence(f"{shown} for {root} is not livelayer's"))
        elif _has_template(root):
            self._wrong(item, "has a Go template, which nobody fills in here", "write the path out", "rootfs_path")
        elif not is_name(match["name"]):
            self.warnings.append(
                item.sentence(f"not taken: {match['name']} is no name for an extension", "rootfs_path")
            )
        else:
            self._targets(item, match["name"], _KINDS[match["kind"]])

    def _targets(self, item: _Item, name: str, kind: Kind) -> None:
        targets, local = item.value.get("targets") or [], item.value.get("local_file") or False
        if not isinstance(targets, list) or not all(isinstance(it, str) for it in targets):
            self._wrong(item, "must be a list of SCHEME://REFERENCE", "correct the bundle", "targets", of=name)
            return
        if not isinstance(local, bool):
            self._wrong(item, "must be true or false", "correct the bundle", "local_file", of=name)
            return
        for index, target in enumerate(targets):
            if wrong := _wrong_target(target, local=local):
                self._wrong(item, *wrong, "targets", index, of=name)
            elif source := self._source(item, target, local=local, index=index):
                self._add_part(item, name, kind, source)

    def _source(self, item: _Item, target: str, *, local: bool, index: int) -> str | None:
        scheme, _, rest = target.partition("://")
        if scheme.lower() not in _IMAGE_SCHEMES:
            what = f"{target} is not livelayer's, which runs and installs nothing"
            self.notes.append(item.sentence(what, "targets", index))
            return None
        return f"docker-archive:{rest}" if local else f"{scheme.lower()}://{rest}"

    def _add_part(self, item: _Item, name: str, kind: Kind, source: str) -> None:
        """Another target for the same place goes over those before it; of the same one again, the last counts."""
        new: Tree = {"source": [], "rename": True}
        found = self._trees.setdefault(name, new if kind is Kind.SYSEXT else {**new, "kind": str(kind)})
        self._marks.setdefault(("extensions", name), item.mark())
        if found.get("kind", Kind.SYSEXT) != kind:
            hint = "give one of them another name"
            self._wrong(item, f"{name} is both a sysext and a confext", hint, "rootfs_path", of=name)
        found["source"] = [*(it for it in found["source"] if it != source), source]

    def _extension(self, item: _Item) -> None:
        if _has_template(str(item.value)):
            raise Mistake("has a Go template, which nobody fills in here", "write it out")
        name, tree = read_entry(item.value)
        if self._trees.setdefault(name, tree) != tree:
            what = f"there is another {name}, which differs: {self._marks['extensions', name]}"
            self._wrong(item, what, "keep one of them", of=name)
        self._marks.setdefault(("extensions", name), item.mark())

    def _take_catalogs(self, items: Sequence[_Item]) -> None:
        for item in items:
            with self._collecting(item):
                self._catalogs.append(catalog_url(item.value))
        self._catalogs = list(dict.fromkeys(self._catalogs)) if items else [DEFAULT_CATALOG]

    @contextmanager
    def _collecting(self, item: _Item) -> Iterator[None]:
        """What is wrong with an item keeps nobody from looking at the others."""
        try:
            yield
        except NotTaken as error:
            self.warnings.append(item.sentence(f"not taken: {error}"))
        except Invalid as error:
            self._wrong(item, error.message, error.hint or "correct the entry")


def _wrong_target(target: str, *, local: bool) -> tuple[str, str] | None:
    """What is wrong with a bundle's target, and what to do."""
    scheme, *rest = target.split("://")
    if _has_template(target):
        return "has a Go template, which nobody fills in here", "write the target out"
    if len(rest) != 1 or not scheme or not rest[0]:
        return f"{quoted(target)} is no target: it takes SCHEME://REFERENCE", "write container://HOST/NAME:TAG"
    if local and scheme.lower() in _IMAGE_SCHEMES and not rest[0].startswith("/"):
        return f"{quoted(target)} with local_file needs an absolute path", "write container:///PATH"
    return None


def _has_template(text: str) -> bool:
    return "{{" in text or _STAND_IN in text


def _plain(tree: Tree) -> Tree:
    """A sole source as itself."""
    source = tree["source"]
    return {**tree, "source": source[0]} if isinstance(source, list) and len(source) == 1 else tree
