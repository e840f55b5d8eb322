"""Rules about symbolic links: LL5xx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.model.facts.extensionfacts import ExtensionFacts, climbs_out, link_target, resolve
from reconciler.model.fit.filekind import FileKind
from reconciler.model.lint.rule import Hit, Hits, Severity, rule

if TYPE_CHECKING:
    from collections.abc import Iterator


_ANYWHERE: Final = ("/dev/null", "/proc/", "/run/", "/dev/", "/sys/")  # there on every host, or made at run time


@rule("LL501", Severity.WARNING, "bring what it leads to, or let it lead into the extension")
def dangling(facts: ExtensionFacts) -> Hits:
    """A link leads to what is neither in the extension nor on this host."""
    for path, target in _links(facts):
        if facts.covers(target) and resolve(facts.files, f"/{path}") is not None and not facts.has(f"/{path}"):
            yield Hit(f"it leads to {target}, which is neither in the extension nor on this host", path)


@rule("LL502", Severity.WARNING, "let it lead into the hierarchies that are merged; tmpfiles.d can make the rest")
def leaving(facts: ExtensionFacts) -> Hits:
    """A link leads out of the hierarchies that are merged, to what this host does not have."""
    for path, target in _links(facts):
        if not facts.covers(target) and not target.startswith(_ANYWHERE) and not facts.has(f"/{path}"):
            yield Hit(f"it leads to {target}, which the extension cannot bring and this host does not have", path)


@rule("LL503", Severity.WARNING, "shorten it, or make it absolute")
def above_root(facts: ExtensionFacts) -> Hits:
    """A relative link climbs above the root, and leads elsewhere in a root that lies deeper."""
    for path, file in facts.of_kind(FileKind.SYMLINK):
        if climbs_out(path, file.target):
            yield Hit(f"it leads to {file.target}, above the root", path)


@rule("LL504", Severity.WARNING, "let one of them lead to a file")
def circle(facts: ExtensionFacts) -> Hits:
    """Links lead in a circle."""
    for path, _ in facts.of_kind(FileKind.SYMLINK):
        if resolve(facts.files, f"/{path}") is None:
            yield Hit("it leads to itself, by way of others", path)


def _links(facts: ExtensionFacts) -> Iterator[tuple[str, str]]:
    return ((path, link_target(path, file.target)) for path, file in facts.of_kind(FileKind.SYMLINK))
