"""Hide extensions from systemd for as long as a refresh takes: an empty directory of higher precedence masks a name.

What a run leaves that is killed meanwhile is recorded, and the next refresh takes it away. /run forgets it at boot.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.host.base.durable import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.model.state.observed import Unmanaged
    from reconciler.paths import Paths


@contextmanager
def hidden(paths: Paths, systemd: int, extensions: Iterable[Unmanaged]) -> Iterator[None]:
    """Mask these extensions of others; one in the directory of highest precedence cannot be.

    Raises:
        OSError: the file system refuses.
    """
    wanted = [mask for it in extensions if (mask := mask_of(paths, systemd, it))]
    masks = [mask for mask in wanted if not mask.exists()]
    write_json(paths.hidden, [str(mask) for mask in masks], durable=False)
    try:
        for mask in masks:
            mask.mkdir(parents=True)
        yield
    finally:
        clear(paths)


def clear(paths: Paths) -> None:
    """Take the masks away that are recorded; what is in one by now is somebody's, and stays."""
    record = read_json(paths.hidden)
    if record is None:
        return
    for name in record if isinstance(record, list) else []:
        with suppress(OSError, TypeError):
            Path(name).rmdir()
    paths.hidden.unlink(missing_ok=True)


def mask_of(paths: Paths, systemd: int, extension: Unmanaged) -> Path | None:
    """Where a directory would mask an extension: below /run if that is enough; None: nowhere."""
    directories = paths.search_dirs(extension.kind, systemd)
    above = directories[: directories.index(extension.path.parent)]
    for directory in sorted(above, key=lambda it: not it.is_relative_to(paths.under("/run"))):
        return directory / extension.name
    return None
