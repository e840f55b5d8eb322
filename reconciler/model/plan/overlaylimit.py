"""How many extensions an overlay takes: its mount options must fit one page.

systemd-sysext mounts one overlay for each hierarchy. Its `lowerdir=` has systemd's own record, one directory for each
extension and the hierarchy itself. What is longer than a page fails (252, 254 and 257 alike), and only after the old
overlay is gone: then nothing is merged at all. With names of 7 letters, 94 extensions merge and 95 do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid
from reconciler.model.plan.action import Place, Problem, Remove, Step, problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.kind import Kind
    from reconciler.model.state.observed import ObservedState

OPTIONS_MAX: Final = 4084  # bytes that were seen to work; a page has 4096, with what the kernel adds
_WORKPLACE: Final = "/run/systemd/sysext"  # of systemd-confext, too


def option_length(names: Iterable[str], kind: Kind) -> int:
    """The bytes of the mount options of the overlay of a kind, if each of these extensions has part in it."""
    hierarchy = max((f"/{top}" for top in kind.traits.tops), key=len)
    directories = [f"{_WORKPLACE}/extensions/{name}{hierarchy}" for name in names]
    return len(":".join([f"lowerdir={_WORKPLACE}/meta{hierarchy}", *directories, hierarchy]))


def in_excess(present: frozenset[str], new: Iterable[str], kind: Kind) -> tuple[str, ...]:
    """Which of the new extensions do not fit beside those that are there; the first ones by name go first."""
    names, left = set(present), []
    for name in sorted(new):
        if option_length({*names, name}, kind) > OPTIONS_MAX:
            left.append(name)
        else:
            names.add(name)
    return tuple(left)


def excess_of(kind: Kind, observed: ObservedState, steps: Iterable[Step]) -> list[Problem]:
    """The new extensions that are too many for an overlay; those that others placed count, too."""
    changes = [it for it in steps if isinstance(it, Place | Remove) and it.ident.kind is kind]
    placed = {it.ident.name for it in changes if isinstance(it, Place)}
    removed = {it.ident.name for it in changes if isinstance(it, Remove)}
    if not placed:
        return []
    others = {it.name for it in observed.unmanaged if it.kind is kind}
    present = frozenset(({link.name for link in observed.mergeable_links(kind)} | others) - removed)
    left = in_excess(present, placed - present, kind)
    return [problem(name, _too_many(kind, len(present | placed))) for name in left]


def _too_many(kind: Kind, count: int) -> Invalid:
    return Invalid(
        f"with it, {count} extensions would be merged, and their names take more than the {OPTIONS_MAX} bytes that "
        f"the mount options of a {kind} overlay may have; systemd would merge none at all",
        "leave some out, give them shorter names, or make one image of several",
        code="overlay.too-many",
    )
