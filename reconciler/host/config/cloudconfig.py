"""Cloud-configs as files: which are read, who may write them, and what survives Go templates and foreign mistakes."""

from __future__ import annotations

import errno
from contextlib import suppress
from dataclasses import field, replace
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, Mistake
from reconciler.host.base.bounded import read_bounded
from reconciler.host.base.ownership import refuse_foreign_hands
from reconciler.host.config.cloudplaces import cloud_configs
from reconciler.host.config.yamlfile import parse_parts
from reconciler.model.config.cloudconfig import MENTIONS, PARTS, has_header, translate, without_templates
from reconciler.model.config.merge import CloudParts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.model.config.merge import Fragment
    from reconciler.paths import Paths

_SIZE_END: Final = 2 << 20  # bytes; Kairos, too, takes only files below
_NO_FILE: Final = "it is no regular file"
_UNFIT: Final = {
    errno.EFBIG: "it is larger than 2 MiB",
    **dict.fromkeys((errno.EINVAL, errno.EISDIR, errno.ENXIO, errno.EAGAIN), _NO_FILE),
}


@dataclass(slots=True)
class _Found:
    """What the files have, the lowest first, and which were passed over."""

    fragments: list[Fragment] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def translated(self) -> CloudParts:
        parts = translate(self.fragments) if self.fragments else CloudParts()
        return replace(parts, warnings=(*self.warnings, *parts.warnings))


def read_places(places: Sequence[Path], paths: Paths) -> CloudParts:
    """Read the cloud-configs of a node; symbolic links below another root lead nowhere else."""
    found = _Found()
    for place in places:
        for path in map(paths.followed, cloud_configs([place])):
            if text := _read(path, found):
                refuse_foreign_hands(path, paths.root, code="config.not-roots")
                _understand(text, path, found)
    return found.translated()


def read_named(files: Sequence[Path], *, root_only: bool) -> CloudParts:
    """Read cloud-configs that the user names; here it is a mistake if one is none."""
    found = _Found()
    for path in files:
        text = _read(path, found)
        if text is None:
            raise Mistake(found.warnings[-1], "name a file with the line #cloud-config among its first ten")
        if root_only:
            refuse_foreign_hands(path.absolute(), code="config.not-roots")
        _understand(text, path, found)
    return found.translated()


def _read(path: Path, found: _Found) -> bytes | None:
    """The content of a file that is a cloud-config; of any other, nothing but a warning."""
    try:
        text, unfit = _content(path)
    except FileNotFoundError:
        text, unfit = b"", "there is no such file"
    except OSError as error:
        raise Invalid.of(error, f"{path}: cannot be read", "check the file and its disk") from error
    if unfit:
        found.warnings.append(f"{path}: passed over, as {unfit}")
    return None if unfit else text


def _content(path: Path) -> tuple[bytes, str | None]:
    """What is in a file, and why it is no cloud-config."""
    try:
        text = read_bounded(path, _SIZE_END - 1)
    except OSError as error:
        if unfit := _UNFIT.get(error.errno or 0):
            return b"", unfit
        raise
    return text, None if has_header(text) else "it has no line #cloud-config among the first ten"


def _understand(text: bytes, path: Path, found: _Found) -> None:
    try:
        fragment = _parse(text, str(path))
    except Invalid as error:
        if any(word in text for word in MENTIONS):
            raise
        found.warnings.append(f"{error.message}; passed over, as it says nothing of extensions")
        return
    found.fragments.append(fragment)


def _parse(text: bytes, name: str) -> Fragment:
    """As it is; where that is not possible, without the templates in it."""
    try:
        return parse_parts(text, name, PARTS)
    except Invalid:
        neutral = without_templates(text.decode(errors="replace")).encode()
        with suppress(Invalid):
            if neutral != text:
                return parse_parts(neutral, name, PARTS)
        raise
