"""The names of the images that a layout or an archive has, for who named none of them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reconciler.errors import Invalid
from reconciler.host.base.bounded import read_bounded
from reconciler.model.content.ociwrite import REF_NAME

if TYPE_CHECKING:
    from reconciler.errors import ReconcilerError

_DOCUMENT_MAX: Final = 4 << 20  # bytes
_SHOWN_MAX: Final = 20
_NAMELESS: Final = frozenset({"source.ambiguous", "registry.not-found"})


def with_names(error: ReconcilerError, argument: str) -> ReconcilerError:
    """A complaint that no image, or none there is, was named: with those there are, if there are."""
    if error.code not in _NAMELESS or not (names := names_in(argument)):
        return error
    place = ":".join(argument.split(":")[:2])
    shown = ", ".join(names[:_SHOWN_MAX]) + (
        f" and {len(names) - _SHOWN_MAX} more" if len(names) > _SHOWN_MAX else ""
    )
    return Invalid(error.message, f"name one of them as {place}:NAME; there are {shown}", code=error.code)


def names_in(argument: str) -> list[str]:
    """What may stand behind the place of an image; nothing where that is not known."""
    transport, _, reference = argument.partition(":")
    place = Path(reference.partition(":")[0])
    try:
        match transport:
            case "oci":
                return _of_index(json.loads(read_bounded(place / "index.json", _DOCUMENT_MAX)))
            case "oci-archive":
                return _of_index(_document(place, "index.json"))
            case "docker-archive":
                return [tag for image in _document(place, "manifest.json") for tag in image.get("RepoTags") or ()]
            case _:
                return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, tarfile.TarError, EOFError):
        return []


def _of_index(index: Any) -> list[str]:  # noqa: ANN401 - JSON
    names = [(it.get("annotations") or {}).get(REF_NAME) for it in index["manifests"]]
    return [str(name) for name in names if name]


def _document(archive: Path, name: str) -> Any:  # noqa: ANN401 - JSON
    with tarfile.open(archive) as opened:
        for member in opened:
            if member.name.removeprefix("./") == name and member.isfile() and member.size <= _DOCUMENT_MAX:
                found = opened.extractfile(member)
                return json.loads(found.read()) if found else None
    return None
