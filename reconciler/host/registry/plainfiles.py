"""Images that lie on this node: skopeo waits without an end for what is neither a regular file nor a directory."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid
from reconciler.host.base.walk import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

_DIRECTORIES: Final = frozenset({"oci", "dir"})


def refuse_special_files(argument: str) -> None:
    """Look at all that skopeo may open of a source; that something is missing is skopeo's to say."""
    transport, _, reference = argument.partition(":")
    place = Path(reference.partition(":")[0] if transport != "dir" else reference)
    with Invalid.on_oserror(f"{place}: cannot be read", "look at its mode and its disk"):
        if not place.exists():
            return
        for path in map(Path, _all_in(place) if transport in _DIRECTORIES else [place]):
            if not (stat.S_ISREG(mode := path.stat().st_mode) or stat.S_ISDIR(mode)):
                what = f"{path} is neither a regular file nor a directory"
                raise Invalid(what, "remove it, or copy the image anew", code="content.special-file")


def _all_in(directory: Path) -> Iterator[str]:
    return (os.fsdecode(path) for path, _ in walk(os.fsencode(directory.resolve())))
