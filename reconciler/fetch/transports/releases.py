"""Directories of releases, on the web or on this node: of the files there the newest that fits is taken."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, assert_never

from reconciler.dataclass import dataclass
from reconciler.errors import Failed, Invalid
from reconciler.fetch.transports.local import Local
from reconciler.fetch.transports.web import Web
from reconciler.host.sources import sha256sums
from reconciler.model.content.releases import Release, choice_of, choose, none_fits, releases_in
from reconciler.model.content.version import parse_range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeAlias

    from reconciler.fetch.content import Content
    from reconciler.fetch.transport import Access, Made, Opening
    from reconciler.model.config.part import Part
    from reconciler.model.content.format import Format
    from reconciler.model.content.releases import Choice
    from reconciler.model.content.resolution import Resolution

    _Way: TypeAlias = Web | Local

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Releases:
    """`https://HOST/DIR/` and `file:///DIR/`, with `match`."""

    access: Access

    def look_up(self, part: Part, wanted: Format | None) -> Resolution:
        way = self._way(part)
        listed = self.listed(part)
        choice = self._choice(part, listed, way)
        file, digest = _file(part, choice), listed.get(choice.file)
        found = way.look_up(replace(file, pin=digest), wanted)
        if not found.satisfies(digest):
            what = f"{file.source.text} has the digest {found.digest}, and not the {digest} that is listed beside it"
            raise Invalid(what, "put the file there anew, or its list", code="digest.mismatch")
        return replace(found, tag=choice.version, choice=choice)

    def is_kept(self, resolution: Resolution) -> bool:
        return Web(self.access).is_kept(resolution)

    def open(self, it: Opening, use: Callable[[Content], Made]) -> Made:
        choice = it.resolution.choice
        assert choice  # noqa: S101 - what was looked up here has one
        return self._way(it.part).open(replace(it, part=_file(it.part, choice)), use)

    def _way(self, part: Part) -> _Way:
        return Web(self.access) if part.source.is_web else Local(self.access)

    def listed(self, part: Part) -> Mapping[str, str | None]:
        """Digests by the names of files; None where no list has one."""
        match way := self._way(part):
            case Web():
                return way.listed(part)
            case Local():
                directory = self.access.paths.under(part.source.reference)
                with Failed.on_oserror(f"{directory}: cannot be listed", "check the directory in source:"):
                    files = [it.name for it in directory.iterdir() if it.is_file()]
                named = sha256sums.read_local(directory)
                self._tell_unlisted(part, set(files) - named.keys() if named else ())
                return {name: named[name] for name in files if name in named} if named else dict.fromkeys(files)
            case never:
                assert_never(never)

    def _tell_unlisted(self, part: Part, names: Iterable[str]) -> None:
        for newest in releases_in(names, part.patterns, self.access.platform(part))[:1]:
            told = "%s: %s is not in the SHA256SUMS beside it, so it is passed over"
            log.warning(told, part.source.text, newest.file)

    def _choice(self, part: Part, listed: Mapping[str, str | None], way: _Way) -> Choice:
        platform, span, where = self.access.platform(part), part.version or parse_range("*"), part.source.text
        releases = releases_in(listed, part.patterns, platform)
        if not releases:
            raise none_fits(listed, part.patterns, platform, where)
        if part.pin is None:
            return choose(releases, span, where)
        for it in releases:
            if (listed[it.file] or self._digest(part, it, way)) == part.pin:
                return choice_of(it, releases, span)
        what = f"none of the {len(releases)} files of {where} that fit match: has the digest {part.pin}"
        raise Invalid(what, "correct digest: or match:", code="digest.mismatch")

    def _digest(self, part: Part, it: Release, way: _Way) -> str:
        return way.look_up(replace(part, source=part.source.file_in(it.file), match=(), pin=None), None).digest


def _file(part: Part, choice: Choice) -> Part:
    """The file that was chosen, as a source of its own."""
    source = part.source.file_in(choice.file)
    return replace(part, text=source.text, source=source, match=(), version=None)
