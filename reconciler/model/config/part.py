"""One source of an extension, as the configuration names it; an extension of several lays each over those before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid, ReconcilerError
from reconciler.model.content.source import Source, shown_url

if TYPE_CHECKING:
    from reconciler.model.config.placeholders import Template
    from reconciler.model.content.filepattern import Pattern
    from reconciler.model.content.ociread import Platform
    from reconciler.model.content.version import Range
    from reconciler.model.fit.release import Host


@dataclass(frozen=True, slots=True)
class Part:
    """Where content comes from, and what is known of it before anybody has looked."""

    text: str  # the source as the user wrote it, without a URL's secrets
    source: Source
    pin: str | None = None  # the digest that it must lead to
    platform: Platform | None = None  # None: this machine's
    version: Range | None = None  # of the tags to choose from, or of the versions in the names of files
    match: tuple[Template[Pattern], ...] = ()  # which files to choose from, if it is a directory of releases
    signed: bool = True  # whether a list of checksums on the web takes a signature
    template: Template[Source] | None = None  # of the source; None: all of this is the same on every host
    version_template: Template[Range] | None = None
    unresolved: ReconcilerError | None = None  # why this host could not fill it in

    def on(self, host: Host) -> Part:
        """With all placeholders filled; where that cannot be done, with the reason."""
        if self.template is None:
            return self
        try:
            template = self.template.on(host)
            version = self.version_template.on(host).value if self.version_template else self.version
            match = tuple(it.on(host) for it in self.match)
        except ReconcilerError as error:
            return replace(self, unresolved=error)
        except ValueError as error:
            hint = "look at this host's os-release"
            return replace(self, unresolved=Invalid(f"{self.text}: {error}", hint, code="config.placeholder"))
        if version and self.version:
            version = replace(version, prereleases=self.version.prereleases)
        return replace(self, text=shown(template), source=template.value, version=version, match=match)

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        return tuple(it.value for it in self.match)


def shown(template: Template[Source]) -> str:
    """A source as the user wrote it, without a URL's secrets."""
    return shown_url(template.text)
