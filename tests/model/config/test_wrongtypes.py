"""Whatever stands where something else should: what is said has no word of pydantic's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, get_args

import pytest
from pydantic import BaseModel

from reconciler.errors import InvalidConfiguration
from reconciler.model.config.document import Document, Extension
from reconciler.model.config.merge import Fragment
from reconciler.model.config.mistakes import read_document

if TYPE_CHECKING:
    from collections.abc import Iterator

JUNK: Final[tuple[Any, ...]] = (
    *(None, 1, -1, 10**4000, 1.5, float("nan"), True, "", "x", b"x"),
    *([], [1], ["x"], [[]], [None], {}, {"x": 1}, {"x": {}}, {1: 2}),
)
PYDANTICS: Final = re.compile(
    r"\b(should|valid|instance|dictionary|tuple|input|permitted|NoneType|should match)\b", re.IGNORECASE
)


def _keys(model: type[BaseModel], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*above, name)
        if below := _model(field.annotation):
            yield from _keys(below, (*above, name))
    if model is Document:
        yield ("extensions", "a")
        yield from _keys(Extension, ("extensions", "a"))


def _model(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - a type
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = filter(None, map(_model, get_args(annotation)))
    return None if "dict" in str(annotation) else next(found, None)


KEYS: Final = list(_keys(Document))


@pytest.mark.parametrize("key", KEYS, ids=".".join)
def test_what_is_said_is_ours(key: tuple[str, ...]) -> None:
    told = [mistake for junk in JUNK for mistake in _mistakes(key, junk)]
    for message, hint in told:
        words = re.sub(r"'[^']*'", "", message)
        assert not PYDANTICS.search(words), message
        assert hint is None or hint.strip()
    assert told


def test_there_are_as_many_keys_as_there_seem_to_be() -> None:
    assert {("settings", "limits", "size"), ("extensions", "a", "units", "start"), ("defaults", "checks", "http")} < {
        *KEYS
    }


def _mistakes(key: tuple[str, ...], value: Any) -> list[tuple[str, str | None]]:  # noqa: ANN401 - anything
    tree: Any = value
    for part in reversed(key):
        tree = {part: tree}
    try:
        read_document(Fragment(tree))
    except InvalidConfiguration as error:
        return [(it.message, it.hint) for it in error.mistakes]
    return []
