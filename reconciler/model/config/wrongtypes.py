"""What is said of a value whose type or form is not the one that a key has: never in pydantic's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.errors import quoted
from reconciler.model.config.fields import ABSOLUTE_PATTERN, DIGEST_PATTERN, UNIT_PATTERN
from reconciler.model.content.source import parse_source
from reconciler.model.kind import is_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

    from reconciler.model.config.merge import KeyPath

_DURATIONS: Final = frozenset({"min_age", "timeout", "settle", "age"})
UNION: Final = frozenset({"int", "str"})  # what pydantic adds to the path of a value that may be either
_EXAMPLE: Final = "docker://HOST/NAME:TAG"
_FORMS: Final = {
    DIGEST_PATTERN: ("{found!r} is no digest", "it looks like sha256: and 64 hexadecimal digits"),
    ABSOLUTE_PATTERN: ("{found!r} is no absolute path", "it begins with /"),
    UNIT_PATTERN: ("{found!r} is no unit's name", "write it whole, as in NAME.service"),
}
# By pydantic's types of errors, filled from its contexts.
_SENTENCES: Final = {
    "bool_type": "must be true or false, not {shown}",
    "dict_type": "must be a map, not {shown}",
    "greater_than_equal": "must be {ge} or more, not {shown}",
    "int_type": "must be a whole number, not {shown}",
    "less_than_equal": "must be {le} or less, not {shown}",
    "literal_error": "must be {expected}, not {shown}",
    "model_type": "must be a map, not {shown}",
    "string_type": "must be a text, not {shown}",
    "too_short": "must not be empty",
    "tuple_type": "must be a list, not {shown}",
}


def words_of(detail: ErrorDetails, path: KeyPath, known: Sequence[str]) -> tuple[str, str | None]:
    """What is wrong with a value, and what to write; `known` are the keys of the map that it should be."""
    found, kind, context = detail["input"], detail["type"], detail.get("ctx", {})
    if kind == "string_pattern_mismatch":
        what, hint = _FORMS[context["pattern"]]
        return what.format(found=found), hint
    if detail["loc"][-1] in UNION:
        return f"must be a number or a text, not {_shown(found)}", None
    sentence = _SENTENCES.get(kind, "cannot be {shown}")
    return sentence.format_map({**context, "shown": _shown(found)}), _hint(kind, path, found, known)


def _shown(found: object) -> str:
    """A value with its type, or the type of one that is too large to be shown."""
    match found:
        case None | bool():
            return {None: "nothing", True: "true", False: "false"}[found]
        case str():
            return f"the text {quoted(found)}"
        case int() | float():
            return f"the number {quoted(str(found))[1:-1]}"
        case _:
            return {"dict": "a map", "list": "a list", "tuple": "a list"}.get(name := type(found).__name__, name)


def _hint(kind: str, path: KeyPath, found: object, known: Sequence[str]) -> str | None:
    match kind, found:
        case "too_short", _:
            return "leave the key out"
        case "tuple_type", str() | int() | float():
            return f"write [{', '.join(str(found).split()) or found}]"
        case "string_type", int() | float() if not isinstance(found, bool):
            return _as_text(path, found)
        case (("model_type" | "dict_type"), _):
            return _as_map(path, found, known)
        case _:
            return None


def _as_text(path: KeyPath, found: float) -> str:
    """How it was written is not known any more: 1.30 is 1.3 for YAML."""
    if path[-1] in _DURATIONS:
        return f"write a time with its unit, such as {found}s or {found}d"
    if not isinstance(found, int):
        return "YAML takes it for a number, without zeros at its end; write it in quotes, as it was"
    return f"YAML takes it for a number; write it in quotes: '{found}'"


def _as_map(path: KeyPath, found: object, known: Sequence[str]) -> str:
    match path:
        case ("extensions",):
            first = found[0] if isinstance(found, list | tuple) and found else ""
            name = first if isinstance(first, str) and is_name(first) else "NAME"
            source = first if isinstance(first, str) and _is_source(first) else _EXAMPLE
            return f"write extensions: {{{_entry(name, source)}}}"
        case ("extensions", name):
            return f"write {_entry(str(name), _sources(found) or _EXAMPLE)}"
        case (*_, "units" | "checks" as key) if words := _words(found):
            return f"write {key}: {{{'start' if key == 'units' else 'units'}: [{', '.join(words)}]}}"
        case _:
            return f"known here: {', '.join(known)}"


def _words(found: object) -> list[str]:
    """A text or a list of texts as what a list has."""
    match found:
        case str():
            return found.split()
        case list() | tuple():
            return [it for it in found if isinstance(it, str)]
        case _:
            return []


def _sources(found: object) -> object:
    """What is written where its map should be, if it is one source or several."""
    texts = found if isinstance(found, list | tuple) else [found]
    return found if texts and all(isinstance(it, str) and _is_source(it) for it in texts) else None


def _entry(name: str, source: object) -> str:
    return f"{name}: {{source: {source!r}}}"


def _is_source(text: str) -> bool:
    try:
        parse_source(text)
    except ValueError:
        return False
    return True
