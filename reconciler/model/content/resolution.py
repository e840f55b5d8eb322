"""What sources led to, and the JSON in which it is recorded."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid
from reconciler.model.content.format import Payload
from reconciler.model.content.ociread import digest_of
from reconciler.model.content.releases import Choice
from reconciler.model.content.sha256sums import is_file_name
from reconciler.model.content.source import DIGEST, parse_source

if TYPE_CHECKING:
    from reconciler.model.content.source import Source

_PLAIN: Final = 5  # fields of a record, without what few have


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a source led to: the digest it names, and the digest of this platform's manifest in it."""

    digest: str
    manifest: str  # the same as `digest` where there is only one
    payload: Payload = Payload.LAYERS
    size: int | None = None  # bytes to transfer; None: unknown
    tag: str | None = None  # the one that `version:` chose
    parts: tuple[Resolution, ...] = ()  # of several sources, lowest first
    origin: Source | None = None  # where the content is, if the source itself does not say so: it names a catalog
    choice: Choice | None = None  # the file that was taken, if the source is a directory of releases
    # Where the tag beside a pin led when it was looked up, if that was elsewhere; of no matter for the content.
    at_tag: str | None = field(default=None, compare=False)

    @property
    def index_digest(self) -> str | None:
        """That of the index, if the source names one."""
        return None if self.digest == self.manifest else self.digest

    @property
    def of_parts(self) -> tuple[Resolution, ...]:
        """One for each source, lowest first."""
        return self.parts or (self,)

    def satisfies(self, pin: str | None) -> bool:
        """Whether a pin names this content, by its index or by its manifest."""
        return pin in {None, self.digest, self.manifest}


def combined(parts: tuple[Resolution, ...]) -> Resolution:
    """Several sources as one; its digest is that of a text with a line for the digest of each, in their order."""
    if any(part.payload is Payload.IMAGE for part in parts):
        raise Invalid("an image file cannot be one of several sources", "name it alone, or a container image instead")
    lines = ["livelayer sources", *(part.manifest for part in parts)]
    digest = digest_of("".join(f"{line}\n" for line in lines).encode())
    sizes = [part.size for part in parts if part.size is not None]
    size = sum(sizes) if len(sizes) == len(parts) else None
    return Resolution(digest, digest, Payload.LAYERS, size, parts=parts)


def resolution_as_json(it: Resolution) -> list[Any]:
    plain = [it.digest, it.manifest, str(it.payload), it.size, it.tag]
    if it.origin:
        return [*plain, it.origin.argument()]
    if choice := it.choice:
        return [*plain, {"file": [choice.file, choice.version, choice.count, choice.newer, choice.why_not]}]
    if it.at_tag:
        return [*plain, {"tag": it.at_tag}]
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
        case [*plain, {"file": [str(), str(), int(), str() | None, str() | None] as fields}] if len(plain) == _PLAIN:
            whole = resolution_from_json(plain)
            return replace(whole, choice=Choice(*fields)) if whole and is_file_name(fields[0]) else None
        case [*plain, {"tag": str(at_tag)}] if len(plain) == _PLAIN:
            whole = resolution_from_json(plain)
            return replace(whole, at_tag=at_tag) if whole and DIGEST.fullmatch(at_tag) else None
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
