"""Cloud-configs as files: which are read, who may write them, and what survives Go templates and foreign mistakes.

What is wrong with a cloud-config, or in whose hands it is, is the matter of that one alone, and of none that says
nothing of extensions.
"""

from __future__ import annotations

import errno
import logging
from contextlib import suppress
from dataclasses import field, replace
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, InvalidConfiguration, Mistake
from reconciler.host.base.bounded import read_bounded
from reconciler.host.base.ownership import refuse_foreign_hands
from reconciler.host.config.cloudplaces import cloud_configs
from reconciler.host.config.yamlfile import parse_parts
from reconciler.model.config.cloudconfig import MENTIONS, PARTS, has_header, translate, without_templates
from reconciler.model.config.merge import CloudParts, Fragment, Mark

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reconciler.model.config.merge import Tree
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

_SIZE_END: Final = 2 << 20  # bytes; Kairos, too, takes only files below
_NO_FILE: Final = "it is no regular file"
_NO_HEADER: Final = "it has no line #cloud-config among the first ten"
_UNFIT: Final = {
    errno.ENOENT: "there is no such file",
    errno.EFBIG: "it is larger than 2 MiB",
    **dict.fromkeys((errno.EINVAL, errno.EISDIR, errno.ENXIO, errno.EAGAIN), _NO_FILE),
}


@dataclass(slots=True)
class _Found:
    """What the files say, the lowest first, and which were passed over."""

    known: Mapping[str, Tree] = field(default_factory=dict)  # what each file said when it was last good
    fragments: dict[str, Fragment] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    mistakes: list[Invalid] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def pass_over(self, name: str) -> None:
        """What it said before stays in force, if anybody knows it."""
        if name in self.known:
            self.fragments[name] = Fragment(self.known[name], {(): Mark(name, 1, 1)})
        else:
            self.fragments.pop(name, None)
            self.unknown.append(name)

    def translated(self) -> CloudParts:
        parts = self._translate()
        if parts.broken:
            for name in parts.broken:
                self.pass_over(name)
            self.mistakes += parts.mistakes
            parts = self._translate()
        return replace(
            parts,
            warnings=(*self.warnings, *parts.warnings),
            mistakes=tuple({it.message: it for it in (*self.mistakes, *parts.mistakes)}.values()),
            unknown=tuple(dict.fromkeys((*self.unknown, *parts.unknown))),
            files={name: it.tree for name, it in self.fragments.items() if it.tree},
        )

    def _translate(self) -> CloudParts:
        return translate(list(self.fragments.values())) if self.fragments else CloudParts()


def read_places(places: Sequence[Path], paths: Paths, known: Mapping[str, Tree]) -> CloudParts:
    """Read the cloud-configs of a node; symbolic links below another root lead nowhere else."""
    found = _Found(known)
    for place in places:
        for name in cloud_configs([place]):
            path = paths.followed(name)
            try:
                _take(path, name, found, paths.root)
            except Invalid as error:
                found.mistakes.append(error)
                found.pass_over(str(path))
    return found.translated()


def read_named(files: Sequence[Path], *, root_only: bool) -> CloudParts:
    """Read cloud-configs that the user names; here it is a mistake if one is none, or has one."""
    found = _Found()
    for path in files:
        text, unfit = _read(path)
        if unfit:
            hint = "name a file with the line #cloud-config among its first ten"
            raise Mistake(f"{path}: passed over, as {unfit}", hint)
        if root_only:
            refuse_foreign_hands(path.absolute(), code="config.not-roots")
        _understand(text, path, found)
    if (parts := found.translated()).mistakes:
        raise InvalidConfiguration(parts.mistakes)
    return parts


def _take(path: Path, name: Path, found: _Found, root: Path) -> None:
    text, unfit = _read(path)
    if found.known.get(str(path)):  # it has had a say, which somebody else's hands would take back
        refuse_foreign_hands(name, root, code="config.not-roots")
    if unfit and str(path) in found.known and unfit != _NO_HEADER:
        raise Mistake(f"{path}: passed over, as {unfit}, and it was a cloud-config", "mend it, or remove it")
    if unfit:
        found.warnings.append(f"{path}: passed over, as {unfit}")
    elif _understand(text, path, found):
        refuse_foreign_hands(name, root, code="config.not-roots")


def _read(path: Path) -> tuple[bytes, str | None]:
    """What is in a file, and why it is no cloud-config."""
    try:
        text = read_bounded(path, _SIZE_END - 1)
    except OSError as error:
        if unfit := _UNFIT.get(error.errno or 0):
            return b"", unfit
        raise Invalid.of(error, f"{path}: cannot be read", "check the file and its disk") from error
    return text, None if has_header(text) else _NO_HEADER


def _understand(text: bytes, path: Path, found: _Found) -> bool:
    """Whether it says anything of extensions; what does not may be as wrong as it likes."""
    if not any(word in text for word in MENTIONS):
        log.debug("%s: says nothing of extensions", path)
        fragment = Fragment({})
    else:
        fragment = _parse(text, str(path))
    found.fragments.pop(str(path), None)  # what comes again counts where it comes last
    found.fragments[str(path)] = fragment
    return bool(fragment.tree)


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
