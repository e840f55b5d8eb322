"""Builds an extension: gather, compare with the base, sort out, describe, write."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.author import forms
from reconciler.author.ingredients import Ingredients
from reconciler.dataclass import dataclass
from reconciler.errors import Failed, Invalid, Malformed
from reconciler.host.assembly.assemblywriter import Clock
from reconciler.host.assembly.contents import read, same
from reconciler.host.assembly.elffiles import needs_of
from reconciler.host.base.bounded import RELEASE_MAX
from reconciler.host.base.durable import sync_filesystem
from reconciler.host.base.walk import walk
from reconciler.host.node.machine import read_os_release
from reconciler.host.registry.layoutreader import is_layout
from reconciler.host.tar.decompress import shown
from reconciler.host.tar.reproducible import source_date_epoch
from reconciler.model.build.assembly import Assembly, difference, text_file
from reconciler.model.build.output import Built, LeftOut, Output
from reconciler.model.build.recipe import release_of, target_platform, upholds
from reconciler.model.build.screening import Dropped, merge_usr, opened_up, os_release_in, screen
from reconciler.model.fit.assignments import read_assignments
from reconciler.model.kind import RELEASE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.author.ingredients import Option
    from reconciler.host.images.write.repart import KeyPair
    from reconciler.model.build.assembly import Item
    from reconciler.model.build.recipe import Recipe, Release
    from reconciler.model.content.ociwrite import Compression
    from reconciler.paths import Paths

# What has no time of its own gets this one, the second of the epoch: systemd takes a unit of the first, which is 0,
# for one that has changed since it was loaded.
_BUILT: Final = 1
_OTHER_RELEASE: Final = "it is the release file of another extension"
_DELETED: Final = "it was deleted, and an extension cannot take away what the host has"
_DAMAGED: Final = "is an ELF file that is damaged or cut off"
_MEND: Final = "fetch or build it again, or leave it out"


@dataclass(frozen=True, slots=True)
class Request:
    """What to build."""

    recipe: Recipe
    parts: tuple[Option, ...]
    output: Output
    out: Path
    base: str | None = None
    keys: KeyPair | None = None
    compression: Compression | None = None
    strict: bool = False
    depends: bool = True
    force: bool = False


class _Sorted(NamedTuple):
    """What goes into the extension, and what is told of the rest."""

    content: Assembly
    release: Release
    dropped: tuple[Dropped, ...]
    notices: tuple[str, ...]


class _Gathered(NamedTuple):
    """All sources together."""

    content: Assembly
    system: Item | None  # the os-release of what it was built for, if a source says
    deleted: tuple[bytes, ...]
    notices: tuple[str, ...]


def build(request: Request, paths: Paths) -> Built:
    """Build one extension. Afterwards it is there, complete, or nothing has changed."""
    request.recipe.check()
    _check_request(request)
    clock = _clock()
    with _scratch(request.out) as scratch:
        platform = target_platform(request.recipe.architecture, os.uname().machine)
        ingredients = Ingredients(paths, scratch, platform, request.strict, request.depends)
        found = _sort_out(_gather(request, ingredients), request, paths)
        made, digest = _write(found, request, clock, scratch)
        size = _size(made)
        _place(made, request)
    return Built(
        request.recipe.ident,
        request.output,
        str(request.out),
        digest,
        size,
        sum(1 for _ in found.content.files()),
        found.release.fields,
        found.release.reason,
        tuple(LeftOut(shown(b"/" + path), reason) for path, reason in found.dropped),
        found.notices,
    )


def _check_request(request: Request) -> None:
    if not request.parts:
        raise Invalid("there is nothing to build of", "give a source: --from, --debs or --binary")
    if request.keys and request.output is not Output.DDI:
        raise Invalid(f"--private-key: {request.output} has no place for a signature", "choose --format ddi")
    if not request.out.parent.is_dir():
        raise Invalid(f"{request.out.parent} is no directory", "make it, or name another place with --output")
    if os.path.lexists(request.out) and not request.force:
        raise Invalid(
            f"{request.out} is there already", "replace it with --force, or name another place with --output"
        )
    if request.out.is_dir() and request.force and not _is_ours(request.out, request.recipe):
        raise Invalid(f"{request.out} is a directory that is no extension", "name another place with --output")


def _is_ours(directory: Path, recipe: Recipe) -> bool:
    """Whether a directory is what a build makes, so that nothing else is lost with it."""
    return is_layout(directory) or (directory / recipe.ident.kind.traits.releases).is_dir()


def _clock() -> Clock:
    epoch = source_date_epoch()
    return Clock(_BUILT) if epoch is None else Clock(epoch, epoch)


@contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A directory beside the result, so that a rename is enough; gone at the end whatever happens."""
    try:
        made = tempfile.TemporaryDirectory(prefix=".livelayer-", dir=out.parent, ignore_cleanup_errors=True)
    except OSError as error:
        raise Failed.of(error, f"{out.parent}: cannot be used", "look at its space and mode") from error
    with made as directory:
        yield Path(directory)


def _gather(request: Request, ingredients: Ingredients) -> _Gathered:
    """Lay all sources over each other, and take away what the base has."""
    base = ingredients.source(request.base).content if request.base else None
    content, is_system, moved = Assembly(), False, 0
    notices: list[str] = []
    for part in request.parts:
        for ingredient in ingredients.take(part, base):
            merged, count = merge_usr(ingredient.content)
            content.lay(merged)
            notices += ingredient.notices
            is_system, moved = is_system or ingredient.is_system, moved + count
    if moved:
        notices.append(f"{moved} files of /bin, /lib and the like are in /usr, as on hosts where these are links")
    system = (os_release_in(base) if base else None) or os_release_in(content)
    if base is None:
        return _Gathered(content, system, (), tuple(notices))
    added, deleted = difference(content, merge_usr(base)[0], same)
    return _Gathered(added, system, deleted if is_system else (), tuple(notices))


def _sort_out(gathered: _Gathered, request: Request, paths: Paths) -> _Sorted:
    """Leave out what must not be in it, and add what the build writes itself."""
    recipe = request.recipe
    content, dropped, releases = screen(gathered.content, recipe.ident.kind)
    name, basis = _basis(releases, recipe)
    others = [f"{recipe.ident.kind.traits.releases}/{RELEASE_PREFIX}{it}".encode() for it in releases if it != name]
    tops = tuple(f"{top}/".encode() for top in recipe.ident.kind.traits.tops)
    deleted = (it for it in gathered.deleted if it.startswith(tops))
    told = (*dropped, *(Dropped(it, _OTHER_RELEASE) for it in others), *(Dropped(it, _DELETED) for it in deleted))
    if request.strict and told:
        more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
        raise Invalid(f"/{shown(told[0].path)} cannot be in the extension: {told[0].reason}{more}", "see --strict")
    if not any(content.files()):
        raise Invalid("nothing is left to put into the extension", _nothing_hint(told))
    needs = needs_of(content, recipe.ident.kind)
    if request.strict and needs.damaged:
        raise Malformed(f"{needs.damaged[0]} {_DAMAGED}", _MEND)
    release = release_of(recipe, needs, basis, lambda: _fields(gathered.system) or read_os_release(paths))
    for path, text in upholds(recipe, _units(content, recipe)).items():
        content.put(path.encode(), text_file(text))
    content.put(recipe.release_path.encode(), text_file(release.text))
    content, count = opened_up(content)
    opened = (f"{count} directories that hosts have, too, are root's with mode 0755",) if count else ()
    renamed = (f"the release file was one of {name}",) if name and name != recipe.ident.name else ()
    damaged = (f"{it} {_DAMAGED}: {_MEND}" for it in needs.damaged)
    return _Sorted(content, release, told, (*gathered.notices, *renamed, *opened, *damaged))


def _nothing_hint(told: tuple[Dropped, ...]) -> str:
    reasons = sorted({it.reason for it in told})
    return f"what the sources have was left out: {reasons[0]}" if reasons else "the sources are empty"


def _basis(releases: Mapping[str, Item], recipe: Recipe) -> tuple[str | None, dict[str, str]]:
    """The release file that a source brought: the one of this name, or the only one there is."""
    name = recipe.ident.name if recipe.ident.name in releases else next(iter(releases), None)
    if name is None or (name != recipe.ident.name and len(releases) > 1):
        return None, {}
    return name, _fields(releases[name])


def _fields(item: Item | None) -> dict[str, str]:
    if item is None or item.content is None:
        return {}
    return read_assignments(read(item.content, 0, RELEASE_MAX).decode(errors="replace"))


def _units(content: Assembly, recipe: Recipe) -> list[str]:
    prefixes = [f"{place}/".encode() for place in recipe.ident.kind.traits.unit_directories]
    names = [name for name, _ in content.files()]
    return [shown(name.removeprefix(it)) for it in prefixes for name in names if name.startswith(it)]


def _write(found: _Sorted, request: Request, clock: Clock, scratch: Path) -> tuple[Path, str]:
    """Write the extension into the scratch directory; return where, and its digest."""
    architecture = found.release.fields.get("ARCHITECTURE", "_any")
    extension = forms.Extension(
        request.recipe.ident,
        found.content,
        clock,
        None if architecture == "_any" else architecture,
        request.keys,
        request.compression,
    )
    made = scratch / "made"
    try:
        return made, forms.write(extension, request.output, made, scratch)
    except OSError as error:
        reason = error.strerror or error
        raise Failed(f"{request.out}: cannot be made: {reason}", "look at the space there") from error


def _size(made: Path) -> int:
    return sum(status.st_size for _, status in walk(os.fsencode(made)) if stat.S_ISREG(status.st_mode))


def _place(made: Path, request: Request) -> None:
    """Put the result where it was asked for, in place of what is there."""
    try:
        sync_filesystem(made)
        if request.out.is_dir() and not request.out.is_symlink():
            request.out.rename(made.with_name("replaced"))
        elif not request.output.is_file:
            request.out.unlink(missing_ok=True)
        made.rename(request.out)
    except OSError as error:
        raise Failed.of(error, f"{request.out}: cannot be placed", "look at its directory's mode") from error
