"""Whether what is in the store has SELinux labels of its own."""

from __future__ import annotations

import logging
import os
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from reconciler.errors import ReconcilerError
from reconciler.host.base.walk import walk
from reconciler.host.images.listing import files_of
from reconciler.host.store import entries as store
from reconciler.host.tar.attributes import label_of

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.images.imageformat import ImageFormat
    from reconciler.model.state.entry import Entry
    from reconciler.paths import Paths

log = logging.getLogger(__name__)

_UNKNOWN = b":unlabeled_t:"  # what the kernel says of a file without a label


class Lack(NamedTuple):
    """What has no label."""

    sentence: str
    hint: str


def unlabelled(paths: Paths, entry: Entry) -> Lack | None:
    """What of an entry has no label for where it will appear; None: all has, or that cannot be told.

    What the store's own label spread to, such as by restorecon(8), counts as without.
    """
    contents = store.read_contents(paths, [entry]).get(entry)
    if contents is None:
        return None
    place = paths.store / entry.file_name
    try:
        return _in_image(place, contents.image) if contents.image else _in_directory(place, paths)
    except (ReconcilerError, OSError) as error:
        log.warning("%s: its labels are not known: %s", entry.file_name, error)
        return None


def _in_directory(tree: Path, paths: Paths) -> Lack | None:
    not_own = {None, label_of(os.fsencode(paths.store))}
    top = os.fsencode(tree)
    for path, _ in islice(walk(top), 1, None):
        label = label_of(path)
        if label in not_own or _UNKNOWN in (label or b""):
            lacking = f"{os.fsdecode(path[len(top) :])} has no SELinux label of its own"
            return Lack(lacking, f"label the files anew: setfiles -F -r {tree} FILE_CONTEXTS {tree}")
    return None


def _in_image(file: Path, image: ImageFormat) -> Lack | None:
    """An image in which nothing has a label; of some images the tools at hand do not tell."""
    files, known = files_of(file, image)
    if not known.attributes or any(it.label for it in files.values()):
        return None
    hint = "build the image with labels, or let livelayer make it: format: squashfs or directory"
    return Lack("no file in the image has an SELinux label", hint)
