"""Members as they are published: the same whoever packs them, and whenever."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid
from reconciler.host.tar.attributes import refuse_overlay
from reconciler.host.tar.decompress import shown
from reconciler.model.fit.filekind import FileKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

    from reconciler.host.tar.reader import Member
    from reconciler.host.tar.writer import Archive

_NS: Final = 10**9
_VARIABLE: Final = "SOURCE_DATE_EPOCH"  # https://reproducible-builds.org/specs/source-date-epoch/
_WHITEOUT: Final = b".wh."


def source_date_epoch() -> int | None:
    """The time that everything is made at, in seconds; None: the environment sets none."""
    text = os.environ.get(_VARIABLE)
    if not text:
        return None
    if not (re.fullmatch("[0-9]{1,10}", text) and int(text) < 1 << 32):  # of images, some keep 32 bits of it
        raise Invalid(f"{_VARIABLE} is {text!r}, not a number of seconds", "set it as: date +%s does")
    return int(text)


class Reproducible:
    """Passes members on as root's, and none newer than a time."""

    def __init__(self, archive: Archive, epoch: int | None) -> None:
        """`epoch` is the latest time, in seconds; None: times stay."""
        self._archive = archive
        self._latest = None if epoch is None else epoch * _NS

    def add(self, member: Member, chunks: Iterable[Buffer] = ()) -> None:
        if member.name.rpartition(b"/")[2].startswith(_WHITEOUT):
            what = f"{shown(member.name)}: in a layer, this name means that a file is deleted"
            raise Invalid(what, "rename it, or push the extension as an image file", code="content.whiteout")
        refuse_overlay(member.xattrs, member.name)
        is_root = member.kind is FileKind.DIRECTORY and member.name == b"./"
        time = member.mtime_ns if self._latest is None else min(member.mtime_ns, self._latest)
        mode = 0o755 if is_root else member.mode
        self._archive.add(replace(member, uid=0, gid=0, mode=mode, mtime_ns=time), chunks)
