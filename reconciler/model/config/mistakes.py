"""What is wrong with a configuration: each mistake with its file, line, column and key, and what to do."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from reconciler.errors import Invalid, InvalidConfiguration, Mistake, quoted
from reconciler.model.config import wrongtypes
from reconciler.model.config.document import Document, Extension
from reconciler.model.config.merge import Fragment, KeyPath, Tree, overlay
from reconciler.model.content.source import Source, Transport

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic_core import ErrorDetails


_WITH_TAGS = frozenset({Transport.DOCKER, Transport.CATALOG})
_WITH_FILES = frozenset({Transport.HTTPS, Transport.HTTP, Transport.FILE})
_DIRECTORIES = "write source: https://HOST/DIR/ or file:///DIR/"


class Misread(Mistake):
    """A mistake at a place of the document, and the file that has it there."""

    def __init__(self, message: str, hint: str | None, path: KeyPath, file: str | None) -> None:
        super().__init__(message, hint)
        self.path = path
        self.file = file


def read_document(fragment: Fragment) -> Document:
    """A merged configuration, with the defaults laid below its extensions."""
    try:
        document = Document.model_validate(_with_defaults(fragment.tree))
    except ValidationError as error:
        details = _of_written(fragment.tree, error).errors(include_url=False)
        raise InvalidConfiguration(_each_once(_translated(it, fragment) for it in details)) from None
    except Exception as error:
        raise _unexpected(fragment, error) from error
    if misuses := tuple(_misuses(document, fragment)):
        raise InvalidConfiguration(misuses)
    return document


def _each_once(mistakes: Iterable[Invalid]) -> tuple[Invalid, ...]:
    """A value that may have one of two types has neither."""
    return tuple({it.message: it for it in mistakes}.values())


def _unexpected(fragment: Fragment, error: Exception) -> Mistake:
    """With the place of the value that leads to it: the first that does so alone, an extension or a setting."""
    for top, below in fragment.tree.items():
        for key in below if isinstance(below, dict) else ():
            try:
                Document.model_validate({top: {key: below[key]}})
            except ValidationError:
                continue
            except Exception:  # noqa: BLE001 - nobody knows what it is
                return Mistake.unexpected(error, f"{fragment.place((top, key))}: {top}.{key}")
    return Mistake.unexpected(error, f"{fragment.place(())}: the configuration")


def _with_defaults(tree: Tree) -> Tree:
    defaults, listed = tree.get("defaults"), tree.get("extensions")
    if not (defaults and isinstance(defaults, dict) and isinstance(listed, dict)):
        return tree
    laid = {name: overlay(defaults, it) if isinstance(it, dict) else it for name, it in listed.items()}
    return {**tree, "extensions": laid}


def _of_written(tree: Tree, error: ValidationError) -> ValidationError:
    """What is wrong as it is written, so that a mistake in the defaults is told once, and there."""
    try:
        Document.model_validate(tree)
    except ValidationError as plain:
        return plain
    return error


def _misuses(document: Document, fragment: Fragment) -> Iterator[Invalid]:
    for name, item in sorted(document.extensions.items()):
        if item is not None and item.state != "absent":
            for key, what, hint in _misuses_in(item, has_catalogs=bool(document.settings.catalogs)):
                yield _mistake(fragment, ("extensions", name, *([key] if key else [])), what, hint)


def _misuses_in(item: Extension, *, has_catalogs: bool) -> Iterator[tuple[str | None, str, str | None]]:
    """What the keys of an extension forbid each other: the key, what is wrong, and what to do."""
    if item.source is None:
        yield None, "has no source", "add source: docker://..., or withdraw it: null"
        return
    sources = [template.value for template in item.source]
    transports = {source.transport for source in sources}
    if Transport.CATALOG in transports and not has_catalogs:
        yield "source", "there are no catalogs to look it up in", "name them in settings.catalogs"
    if Transport.HTTP in transports and not item.digest:
        what = "http:// needs a digest, since content can be changed on the way"
        yield "source", what, "add digest: sha256:..., or use https://"
    yield from _misuses_with_several(item, sources) if len(sources) > 1 else _misuses_with_one(item, sources[0])


def _misuses_with_several(item: Extension, sources: Sequence[Source]) -> Iterator[tuple[str, str, str | None]]:
    if item.digest:
        yield "digest", "cannot pin several sources", "pin each of them: docker://NAME@sha256:..."
    if item.version:
        yield "version", "cannot choose the tag of several sources", "name a tag in each of them"
    if item.match:
        yield "match", "cannot choose from several sources", "name one directory of releases"
    elif any(source.is_directory for source in sources):
        yield "source", "a directory of releases cannot be one of several sources", "name it alone, with match:"
    if item.format == "raw":
        yield "format", "raw takes one image file, not several sources", "name one source, or another format:"


def _misuses_with_one(item: Extension, source: Source) -> Iterator[tuple[str, str, str | None]]:
    if item.digest and source.digest not in {None, item.digest}:
        yield "digest", "differs from the digest in source:", None
    yield from _misuses_of_match(item, source)
    yield from _misuses_of_version(item, source)
    if not item.signed and source.transport is not Transport.HTTPS:
        what = "false is for the SHA256SUMS of https:// sources"
        yield "signed", what, "remove it" if source.transport is not Transport.HTTP else "use https://"


def _misuses_of_match(item: Extension, source: Source) -> Iterator[tuple[str, str, str | None]]:
    if source.is_directory and not item.match:
        yield "source", "names a directory, not a file", 'add match: "NAME-@v-%a.raw", or name a file'
    elif item.match and source.transport not in _WITH_FILES:
        yield "match", f"is for directories of releases, not for {source.transport}:", _DIRECTORIES
    elif item.match and source.is_web and not source.is_directory:
        yield "source", "with match: it names a directory, which ends with a slash", "put a / at the end of source:"


def _misuses_of_version(item: Extension, source: Source) -> Iterator[tuple[str, str, str | None]]:
    if not item.version:
        return
    if item.match and item.digest:
        yield "version", "chooses a file, so the digest must go", None
    elif source.transport in _WITH_FILES and not item.match:
        what = "takes match:, which says where in the names of files the version stands"
        yield "version", what, 'add match: "NAME-@v-%a.raw", and name their directory in source:'
    elif source.transport not in _WITH_TAGS | _WITH_FILES:
        yield "version", "only a registry has tags to choose from", None
    elif source.tag or source.digest or item.digest:
        yield "version", f"chooses a tag, so {'the tag' if source.tag else 'the digest'} must go", None


def _translated(detail: ErrorDetails, fragment: Fragment) -> Invalid:
    path = tuple(part for part in detail["loc"] if part != "[key]")
    if detail["loc"][-1:] and detail["loc"][-1] in wrongtypes.UNION:
        path = path[:-1]
    hint: str | None
    match detail["type"]:
        case "extra_forbidden":
            what, hint = "unknown key", _known_instead(path)
        case "string_pattern_mismatch" if detail["loc"][-1] == "[key]":
            what, hint = "is no extension name", "use letters, digits and . _ + - (64 at most)"
        case "value_error":
            what, hint = str(detail["ctx"]["error"]), None
        case kind:
            known = _keys_at(path) if kind == "model_type" else []
            what, hint = wrongtypes.words_of(detail, path, known)
    return _mistake(fragment, path, what, hint)


def _known_instead(path: KeyPath) -> str:
    *around, key = path
    known = _keys_at(tuple(around))
    close = difflib.get_close_matches(str(key), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"


def _keys_at(path: KeyPath) -> list[str]:
    found: Any = Document
    for key in path:
        is_model = isinstance(found, type) and issubclass(found, BaseModel)
        found = _model_in(found.model_fields[str(key)].annotation if is_model else found)
    return list(found.model_fields)


def _model_in(annotation: Any) -> Any:  # noqa: ANN401 - a type
    """The model that a field's type allows, or the type of a dictionary's values."""
    if get_origin(annotation) is dict:
        return get_args(annotation)[1]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_model_in, get_args(annotation))), None)


def _shown(part: object) -> str:
    """A key, which may be a source in the wrong place, and with blanks in it."""
    return quoted(str(part)) if "://" in str(part) else str(part)


def _mistake(fragment: Fragment, path: KeyPath, what: str, hint: str | None = None) -> Invalid:
    place = fragment.place(path)
    name = ".".join(_shown(part) for part in path) or "the configuration"
    where = f"{place}: {name}" if place else name
    return Misread(f"{where}: {what}", hint, path, place.file if place else None)
