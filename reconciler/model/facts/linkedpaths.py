"""At which paths a merged host finds the files of an extension: their own, and those that links make."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid
from reconciler.model.fit.symlinks import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_MERGED: Final = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32"})  # links into /usr on today's systems
_PATHS_MAX: Final = 500_000  # that links may make of one extension


def seen_at(paths: Iterable[str], links: Mapping[str, str], matters: Callable[[str], bool]) -> dict[str, str]:
    """Each path at which something is found that is no directory, and the path of the file or link that it is.

    Both are without leading slash. `links` has the targets of symbolic links, which are among the paths. One that
    leads to a file stands for that; one that leads out of the extension stands for itself. A way through a link goes
    through it once: no host looks for a file at a path that has the same directory in itself. Only those links are
    followed at whose place a directory `matters`, since there may be very many.
    """
    found = {path: path for path in paths}
    ends = {link: target_of(link, links) for link in links}
    files = found.keys() - links.keys()
    todo = [(link, link, frozenset({link})) for link in links if matters(link)]
    order = sorted(found) if todo else []
    bound = len(found) + _PATHS_MAX
    found |= {link: end for link, end in ends.items() if end in files}
    while todo:
        place, link, passed = todo.pop()
        target = ends[link]
        for path in _below(target, order) if target else ():
            inside = f"{place}{path[len(target or '') :]}"
            if inside not in found:
                found[inside] = found[path]
                if path in links and path not in passed and matters(inside):
                    todo.append((inside, path, passed | {path}))
        if len(found) > bound:
            hint = "look at where they lead: links of directories to directories above them"
            raise Invalid("its links make a maze of its directories", hint)
    return found


def target_of(link: str, links: Mapping[str, str]) -> str | None:
    """Where a link leads in the end, without a leading slash; None: in a circle."""
    place = follow(link, links.get)
    top, _, _ = (place or "").partition("/")
    return f"usr/{place}" if top in _MERGED else place


def leads_out(link: str, links: Mapping[str, str], order: Sequence[str]) -> bool:
    """Whether nobody can say what is found there: no directory of the extension, which has these sorted paths."""
    place = target_of(link, links)
    return place is None or next(_below(place, order), None) is None


def _below(directory: str, order: Sequence[str]) -> Iterator[str]:
    """The paths in a directory, of sorted ones."""
    prefix = f"{directory}/"
    for number in range(bisect_left(order, prefix), len(order)):
        if not order[number].startswith(prefix):
            break
        yield order[number]
