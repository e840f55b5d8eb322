"""Files and directories of this node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.dataclass import dataclass
from reconciler.errors import Failed
from reconciler.fetch.content import Tree, content_of_file
from reconciler.host.sources import local
from reconciler.model.content.format import Payload
from reconciler.model.content.resolution import Resolution

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.fetch.content import Content
    from reconciler.fetch.transport import Access, Made, Opening
    from reconciler.model.config.part import Part
    from reconciler.model.content.format import Format


@dataclass(frozen=True, slots=True)
class Local:
    """`file:///PATH`."""

    access: Access

    def look_up(self, part: Part, _wanted: Format | None) -> Resolution:
        path, limits = self.access.paths.under(part.source.reference), self.access.limits
        digest, payload, size = self.access.answers.once(f"file {path}", lambda: local.look_at(path, limits))
        return Resolution(digest, digest, payload, size)

    @staticmethod
    def is_kept(_: Resolution) -> bool:
        """Nothing is kept but the source itself, which may be another one by now."""
        return False

    def open(self, it: Opening, use: Callable[[Content], Made]) -> Made:
        """Digests are checked while content is read or copied."""
        path, digest = self.access.paths.under(it.part.source.reference), it.resolution.digest
        if it.again and local.look_at(path, self.access.limits)[0] != digest:
            hint = "put the former content there, or place the present one by pull: always"
            raise Failed(
                f"{path} is not what was placed any more, so that cannot be made anew", hint, code="source.changed"
            )
        if it.resolution.payload is Payload.TREE:
            return use(Tree(path, digest))
        return use(content_of_file(path, digest, path.name))
