"""Names in catalogs, which lead to images in registries."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid
from reconciler.fetch.transports.registry import Registry
from reconciler.model.content.catalog import Selector

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.fetch.content import Content
    from reconciler.fetch.transport import Access, Made, Opening
    from reconciler.model.config.part import Part
    from reconciler.model.content.format import Format
    from reconciler.model.content.resolution import Resolution


@dataclass(frozen=True, slots=True)
class Catalog:
    """`catalog:NAME[@VERSION]`."""

    access: Access

    def look_up(self, part: Part, wanted: Format | None) -> Resolution:
        if self.access.catalogs is None:
            raise Invalid(f"{part.text}: there are no catalogs to look it up in", "name them in settings.catalogs")
        name, _, version = part.source.reference.partition("@")
        architecture = self.access.platform(part).architecture
        found = self.access.catalogs.find(Selector(name, version or None, part.version, architecture))
        listed = replace(part, source=found.source, pin=found.source.digest, version=None)
        image = Registry(self.access).look_up(listed, wanted)
        return replace(image, tag=found.tag, origin=found.source)

    def is_kept(self, resolution: Resolution) -> bool:
        return Registry(self.access).is_kept(resolution)

    def open(self, it: Opening, use: Callable[[Content], Made]) -> Made:
        part = replace(it.part, source=it.resolution.origin or it.part.source)
        return Registry(self.access).open(replace(it, part=part), use)
