"""A YAML file as a fragment of configuration that knows the line and column of every key and item."""

from __future__ import annotations

import codecs
import errno
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import yaml

from reconciler.errors import Invalid, Mistake, ReconcilerError, shortened
from reconciler.host.base.bounded import is_null, read_bounded
from reconciler.host.base.ownership import refuse_foreign_writers
from reconciler.model.config.merge import Fragment, KeyPath, Mark

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

# A configuration is a few kilobytes; these bound what a mistaken or hostile file may cost (alias bombs).
_MAX_BYTES: Final = 1 << 20
_MAX_NODES: Final = 50_000
_MAX_DEPTH: Final = 50
_DEPTH_MAX: Final = 200  # of what is not looked at
_HARMLESS: Final = 1000  # brackets and characters in a line together: no text nests deeper than that
_SHOWN: Final = 40  # characters of a value
_NUMBER_MAX: Final = (1 << 63) - 1  # some that are larger cannot even be shown
_MERGE: Final = "tag:yaml.org,2002:merge"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_fragment(path: Path, *, root_only: bool = True) -> Fragment:
    """Read one file; an empty one is an empty fragment. `root_only`: it is refused where others can write it."""
    text = _content(path, root_only=root_only)
    with _loading(text, str(path)) as loader:
        hint = "it starts with apiVersion: livelayer/v1"
        return _Walk(loader, str(path), None).fragment(loader.get_single_node(), hint)


def _content(path: Path, *, root_only: bool) -> bytes:
    try:
        if is_null(path.stat()):
            return b""
        return read_bounded(path, _MAX_BYTES, partial(refuse_foreign_writers, path) if root_only else lambda _: None)
    except OSError as error:
        if error.errno == errno.EFBIG:
            what = f"{path}: is larger than {_MAX_BYTES >> 20} MiB"
            raise Mistake(what, "a configuration is a few kilobytes") from error
        raise Invalid.of(error, f"{path}: cannot be read", "check the path and its permissions") from error


@contextmanager
def _loading(text: bytes, name: str) -> Iterator[Any]:
    loader = None
    try:
        _refuse_depth(text, name)
        loader = _Loader(text.removeprefix(codecs.BOM_UTF8))
        yield loader
    except yaml.YAMLError as error:
        raise _syntax_error(error, text, name) from error
    except RecursionError as error:
        raise Mistake(f"{name}: is nested too deeply", "a configuration has four levels") from error
    except ReconcilerError:
        raise
    except Exception as error:
        raise Mistake.unexpected(error, f"{name}:1:1") from error
    finally:
        if loader:
            loader.dispose()


def parse_parts(text: bytes, name: str, wanted: Collection[KeyPath]) -> Fragment:
    """Of YAML text only what is at these paths; of several documents, the first. What else is there may be odd."""
    with _loading(text, name) as loader:
        node = loader.get_node() if loader.check_node() else None
        return _Walk(loader, name, wanted).fragment(node, "it has keys such as install: and bundles:")


def _refuse_depth(text: bytes, name: str) -> None:
    """Before nodes are made of it, for which libyaml's binding calls itself until the stack ends."""
    brackets = text.count(b"[") + text.count(b"{")
    if brackets + max(map(len, text.split(b"\n"))) < _HARMLESS:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEPTH_MAX:
            raise Mistake(f"{_mark(event, name)}: is nested too deeply", "a configuration has four levels")


def _syntax_error(error: yaml.YAMLError, text: bytes, name: str) -> Invalid:
    marks = (getattr(error, key, None) for key in ("problem_mark", "context_mark"))
    place = next((f"{name}:{mark.line + 1}:{mark.column + 1}" for mark in marks if mark), name)
    if isinstance(error, yaml.reader.ReaderError):
        place = str(_mark_at(error.position, text.removeprefix(codecs.BOM_UTF8), name))
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    hint = "check the indentation and quoting around this place"
    if (problem := getattr(error, "problem_mark", None)) and _begins_with_tab(text, problem.line):
        hint = "indent this line with spaces: YAML takes no tabs there"
    return Mistake(f"{place}: no valid YAML: {what}", hint)


def _begins_with_tab(text: bytes, line: int) -> bool:
    return any(it.lstrip(b" ").startswith(b"\t") for it in text.splitlines()[line : line + 1])


def _mark(found: Any, name: str) -> Mark:  # noqa: ANN401 - a node or an event, whose stubs disagree about marks
    return Mark(name, found.start_mark.line + 1, found.start_mark.column + 1)


def _mark_at(offset: int, text: bytes, name: str) -> Mark:
    """Of a byte, for which libyaml has no mark since it is no character."""
    before = text[:offset].split(b"\n")
    return Mark(name, len(before), len(before[-1].decode(errors="replace")) + 1)


class _Walk:
    """One pass over a node graph: values out, marks noted, duplicate keys and bombs refused."""

    def __init__(self, loader: Any, name: str, wanted: Collection[KeyPath] | None) -> None:  # noqa: ANN401 - yaml's loaders share no base class
        self._loader = loader
        self._name = name
        self._wanted = wanted  # paths; None: all
        self._marks: dict[KeyPath, Mark] = {}
        self._nodes = 0

    def fragment(self, node: yaml.Node | None, hint: str) -> Fragment:
        if node is None or (isinstance(node, yaml.ScalarNode) and self._constructed(node) is None):
            return Fragment({})
        if not isinstance(node, yaml.MappingNode):
            raise self._invalid(node, "the file must be a map", hint)
        return Fragment(self._value(node, ()), self._marks)

    def _is_wanted(self, key: yaml.Node, path: KeyPath) -> bool:
        """Whether the value behind a key is asked for, lies in what is, or leads to it."""
        if self._wanted is None or any(path[: len(it)] == it for it in self._wanted):
            return True
        child = (*path, key.value)
        return isinstance(key, yaml.ScalarNode) and any(child == it[: len(child)] for it in self._wanted)

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401 - any YAML value
        self._count(node, path)
        self._marks.setdefault(path, self._mark(node))
        if isinstance(node, yaml.MappingNode):
            return self._map(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._constructed(node)

    def _constructed(self, node: yaml.Node) -> Any:  # noqa: ANN401 - any YAML value
        """A scalar as a value; PyYAML lets out whatever its own conversions raise, as for the month 13."""
        try:
            value = self._loader.construct_object(node, deep=True)
        except yaml.YAMLError:
            raise
        except Exception as error:
            kind = node.tag.rpartition(":")[2]
            raise self._invalid(
                node, f"{shortened(node.value, _SHOWN)!r} is no {kind}", "quote what is text"
            ) from error
        if isinstance(value, int) and abs(value) > _NUMBER_MAX:
            raise self._invalid(
                node, f"{shortened(node.value, _SHOWN)!r} is too large a number", "quote what is text"
            )
        return value

    def _map(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        self._refuse_duplicates(node, path)
        self._flatten(node)
        result = {}
        for key_node, value_node in node.value:
            if not self._is_wanted(key_node, path):
                continue
            key = self._key(key_node)
            self._marks[(*path, key)] = self._mark(key_node)
            result[key] = self._value(value_node, (*path, key))
        return result

    def _flatten(self, node: yaml.MappingNode) -> None:
        """Resolve merge keys (`<<`), unless that makes a bomb of them."""
        if self._size(node, {}) > _MAX_NODES:
            raise self._invalid(node, "too many or too deeply nested values", "look for merge keys (<<) that repeat")
        self._loader.flatten_mapping(node)

    def _size(self, node: yaml.MappingNode, known: dict[int, int]) -> int:
        """How many keys a map has when its merge keys are resolved; one that merges itself never ends."""
        if id(node) not in known:
            known[id(node)] = _MAX_NODES + 1
            merged = [value for key, value in node.value if key.tag == _MERGE]
            below = [it for value in merged for it in (value.value if isinstance(value.value, list) else ())]
            sizes = [self._size(it, known) for it in (*merged, *below) if isinstance(it, yaml.MappingNode)]
            known[id(node)] = len(node.value) + sum(sizes)
        return known[id(node)]

    def _refuse_duplicates(self, node: yaml.MappingNode, path: KeyPath) -> None:
        """Before merge keys (`<<`) are resolved: what they bring may be overridden."""
        seen: dict[str, yaml.Node] = {}
        for key_node, _ in node.value:
            if key_node.tag == _MERGE or not self._is_wanted(key_node, path):
                continue
            key = self._key(key_node)
            if key in seen:
                first = self._mark(seen[key])
                raise self._invalid(key_node, f"duplicate key {key!r}, first in line {first.line}", "keep one")
            seen[key] = key_node

    def _key(self, node: yaml.Node) -> str:
        key = self._constructed(node) if isinstance(node, yaml.ScalarNode) else None
        if not isinstance(key, str):
            shown = shortened(node.value, _SHOWN) if isinstance(node, yaml.ScalarNode) else "a list or map"
            raise self._invalid(node, f"the key {shown} is not text", f'quote it: "{shown}":')
        return key

    def _count(self, node: yaml.Node, path: KeyPath) -> None:
        self._nodes += 1
        if self._nodes > _MAX_NODES or len(path) > _MAX_DEPTH:
            raise self._invalid(node, "too many or too deeply nested values", "look for aliases that repeat")

    def _mark(self, node: yaml.Node) -> Mark:
        return _mark(node, self._name)

    def _invalid(self, node: yaml.Node, what: str, hint: str) -> Invalid:
        return Mistake(f"{self._mark(node)}: {what}", hint)
