"""Extensions as facts, for tests of rules and reports: a good one, and small changes to it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from reconciler.model.content.format import Payload
from reconciler.model.facts.extensionfacts import (
    ExtensionFacts,
    File,
    HostFacts,
    Origin,
    kind_of,
    with_parents,
)
from reconciler.model.facts.program import Program, Shape
from reconciler.model.fit.filekind import FileKind
from reconciler.model.images.imageformat import FileSystem, ImageFormat, Volume

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW: Final = 1_700_000_000
RELEASE: Final = "usr/lib/extension-release.d/extension-release.x"
UNITS: Final = "usr/lib/systemd/system"
GOOD_RELEASE: Final = "ID=debian\nVERSION_ID=12\nARCHITECTURE=x86-64\nEXTENSION_RELOAD_MANAGER=1\n"
UPHOLDS: Final = f"{UNITS}/multi-user.target.d/10-x.conf"


def file(text: str | None = None, **changes: Any) -> File:  # noqa: ANN401 - fields of a File
    """A file, with its text where that decides something."""
    content = None if text is None else text.encode()
    size = 10 if content is None else len(content)
    return File(FileKind.FILE, **{"size": size, "mtime": NOW - 1, "content": content, **changes})


def program(mode: int = 0o755, **changes: Any) -> File:  # noqa: ANN401 - fields of a Program
    """An ELF program, linked statically, for x86-64."""
    return file(mode=mode, program=Program(**{"shape": Shape.ELF, "architecture": "x86-64", **changes}))


def script(interpreter: str, mode: int = 0o755) -> File:
    """A script."""
    return file(mode=mode, program=Program(Shape.SCRIPT, interpreter))


def link(target: str) -> File:
    """A symbolic link."""
    return File(FileKind.SYMLINK, 0o777, target=target)


def directory(**changes: Any) -> File:  # noqa: ANN401 - fields of a File
    """A directory."""
    return File(FileKind.DIRECTORY, **{"mode": 0o755, **changes})


def image(*, packed: int, unpacked: int, **changes: Any) -> ExtensionFacts:  # noqa: ANN401 - fields of an Origin
    """A squashfs image."""
    what = ImageFormat((Volume(FileSystem.SQUASHFS, 0, packed),))
    facts = extension({"usr/share/x": file(size=unpacked)})
    return replace(facts, origin=replace(facts.origin, **{"image": what, "packed": packed, **changes}))


def extension(
    files: Mapping[str, File | None] | None = None,
    release: str | None = GOOD_RELEASE,
    *,
    origin: Mapping[str, Any] | None = None,
    host: HostFacts | None = None,
    **changes: Any,  # noqa: ANN401 - fields of ExtensionFacts
) -> ExtensionFacts:
    """A good extension with a program, a service and what starts it; None as a file takes one away."""
    wanted: dict[str, File | None] = {
        "usr/bin/x": program(),
        f"{UNITS}/x.service": file("[Service]\nExecStart=/usr/bin/x\n"),
        UPHOLDS: file("[Unit]\nUpholds=x.service\n"),
        RELEASE: file(release) if release is not None else None,
        **(files or {}),
    }
    there = with_parents({path: item for path, item in wanted.items() if item})
    where = Origin(**{"subject": "x", "payload": Payload.TREE, **(origin or {})})
    facts = ExtensionFacts(where, kind_of(there), there, host or HostFacts(is_known=True), now=NOW)
    return replace(facts, **changes)
