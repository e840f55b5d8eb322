"""What was built and what was published, for `livelayer build` and `push`."""

from __future__ import annotations

from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.build.output import Built, LeftOut
    from reconciler.model.build.publication import Published, PublishedImage
    from reconciler.model.content.destination import Destination

_SHOWN_MAX: Final = 5  # paths left out for one reason, unless all were asked for


def built_line(built: Built) -> str:
    return f"{built.path}: {built.output}, {built.size} bytes, {built.digest}"


def built_notes(built: Built, *, everything: bool) -> Iterator[str]:
    yield from built.notices
    fields = " ".join(f"{key}={value}" for key, value in built.release.items())
    yield f"release file: {fields} ({built.release_reason})"
    by_reason = sorted(built.dropped, key=lambda it: (it.reason, it.path))
    for reason, group in groupby(by_reason, key=lambda it: it.reason):
        yield from _left_out(reason, list(group), everything=everything)


def _left_out(reason: str, items: list[LeftOut], *, everything: bool) -> Iterator[str]:
    shown = items if everything else items[:_SHOWN_MAX]
    yield f"left out, since {reason}:"
    yield from (f"  {item.path}" for item in shown)
    if len(shown) < len(items):
        yield f"  and {len(items) - len(shown)} more; -v shows all"


def built_document(built: Built) -> dict[str, Any]:
    return {
        "name": built.ident.name,
        "kind": str(built.ident.kind),
        "format": str(built.output),
        "path": built.path,
        "digest": built.digest,
        "size": built.size,
        "files": built.files,
        "release": dict(built.release),
        "dropped": [asdict(it) for it in built.dropped],
        "notices": list(built.notices),
    }


def published_document(
    published: Published, destination: Destination, *, pushed: bool, signed: bool
) -> dict[str, Any]:
    return {
        "destination": destination.argument,
        "pinned": destination.pinned(published.held.digest) if destination.is_registry else None,
        "digest": published.held.digest,
        "media_type": published.held.media_type,
        "pushed": pushed,
        "signed": signed,
        "images": [_image_object(image) for image in published.images],
    }


def _image_object(image: PublishedImage) -> dict[str, Any]:
    platform, subject = image.manifest.platform, image.subject
    return {
        "made_of": image.made_of,
        "digest": image.manifest.digest,
        "platform": str(platform) if platform else None,
        "name": subject.name if subject else None,
        "kind": str(subject.kind) if subject else None,
        "form": subject.form if subject else None,
    }
