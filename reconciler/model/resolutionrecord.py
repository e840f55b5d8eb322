"""What sources led to, as JSON: the shape in which it is recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from reconciler.model.format import Payload
from reconciler.model.observed import Resolution
from reconciler.model.source import DIGEST, parse_source

if TYPE_CHECKING:
    from reconciler.model.source import Source

_PLAIN: Final = 5  # fields of a record, without what few have


def resolution_as_json(it: Resolution) -> list[Any]:
    """A record of it."""
    plain = [it.digest, it.manifest, str(it.payload), it.size, it.tag]
    if it.origin:
        return [*plain, it.origin.argument()]
    return [*plain, [resolution_as_json(part) for part in it.parts]] if it.parts else plain


def resolution_from_json(record: Any) -> Resolution | None:  # noqa: ANN401 - JSON
    """Anything else was not written by us, and what it stood for can be looked up again."""
    match record:
        case [str(digest), str(manifest), str(payload), int() | None as size, str() | None as tag] if (
            DIGEST.fullmatch(digest) and DIGEST.fullmatch(manifest) and payload in list(Payload)
        ):
            return Resolution(digest, manifest, Payload(payload), size, tag)
        case [*plain, str(origin)] if len(plain) == _PLAIN:
            whole, source = resolution_from_json(plain), _origin(origin)
            return replace(whole, origin=source) if whole and source else None
        case [*plain, list(parts)] if parts:
            whole, found = resolution_from_json(plain), [resolution_from_json(part) for part in parts]
            return replace(whole, parts=tuple(filter(None, found))) if whole and all(found) else None
        case _:
            return None


def _origin(text: str) -> Source | None:
    try:
        return parse_source(text)
    except ValueError:
        return None
