"""Which extension livelayer itself runs from: to prune it would leave the node without anybody to bring it back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import reconciler
from reconciler.host.store.pathlists import readable_lists

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.kind import ExtensionId
    from reconciler.model.state.observed import Link
    from reconciler.paths import Paths


def own_extensions(paths: Paths, links: Sequence[Link]) -> frozenset[ExtensionId]:
    """Those of these links' extensions that have a file of the running program in them."""
    program = str(Path(reconciler.__file__).resolve()).lstrip("/")
    images = {link.ident: link.entry for link in links if link.entry.format.is_file}
    lists = readable_lists(paths, images, remember=False)

    def has_program(link: Link) -> bool:
        if link.entry.format.is_file:
            return link.ident in lists and program in lists[link.ident]
        return os.path.lexists(paths.store / link.entry.file_name / program)

    return frozenset(link.ident for link in links if has_program(link))
