"""One source of an extension, as the configuration names it; an extension of several lays each over those before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.errors import ReconcilerError
    from reconciler.model.config.placeholders import Template
    from reconciler.model.content.ociread import Platform
    from reconciler.model.content.source import Source
    from reconciler.model.content.version import Range


@dataclass(frozen=True, slots=True)
class Part:
    """Where content comes from, and what is known of it before anybody has looked."""

    text: str  # the source as the user wrote it, without a URL's password
    source: Source
    pin: str | None = None  # the digest that it must lead to
    platform: Platform | None = None  # None: this machine's
    version: Range | None = None  # of the tags to choose from
    template: Template | None = None  # what in source and version a host must fill in
    unresolved: ReconcilerError | None = None  # why it could not
