"""Rules about where files are: LL1xx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.model.fit.filekind import FileKind
from reconciler.model.kind import Kind
from reconciler.model.lint.rule import Hit, Hits, Severity, rule

if TYPE_CHECKING:
    from reconciler.model.facts.extensionfacts import ExtensionFacts

_MERGED_TOPS: Final = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32"})  # links into /usr on every host
# Directories that are links on some hosts: usr/sbin on Fedora 42 on and Arch, usr/lib64 on Arch.
_SOMETIMES_LINKS: Final = ("usr/sbin", "usr/lib64")
_LOCAL: Final = "usr/local"


@rule(
    "LL101",
    Severity.ERROR,
    "keep to the hierarchies of its kind: /usr and /opt, or /etc for a configuration extension",
)
def misplaced(facts: ExtensionFacts) -> Hits:
    """Something lies outside of the hierarchies that are merged."""
    for name in facts.contents.misplaced:
        if name not in _MERGED_TOPS:
            yield Hit(f"/{name} would not be merged; {facts.kind.carries}", name)


@rule("LL102", Severity.ERROR, "move it below usr/: hosts have these as links to it")
def unmerged_usr(facts: ExtensionFacts) -> Hits:
    """Something lies in /bin, /sbin or /lib in place of /usr/bin, /usr/sbin or /usr/lib."""
    for name in facts.contents.misplaced:
        if name in _MERGED_TOPS:
            yield Hit(f"/{name} would not be merged, /usr/{name} would", name)


@rule("LL103", Severity.ERROR, "put files where the host's link leads, and into its directories")
def other_kind(facts: ExtensionFacts) -> Hits:
    """A directory stands where this host has none, or something else where it has one, and hides what is there."""
    for clash in facts.host.clashes:
        yield Hit(str(clash), clash.path.lstrip("/"))


@rule("LL104", Severity.NOTE, "put programs into usr/bin and libraries into usr/lib")
def sometimes_link(facts: ExtensionFacts) -> Hits:
    """A directory stands where some hosts have a symbolic link."""
    for path in _SOMETIMES_LINKS:
        file = facts.files.get(path)
        if file and file.kind is FileKind.DIRECTORY and f"/{path}" not in {it.path for it in facts.host.clashes}:
            yield Hit(f"some hosts have /{path} as a link, and the directory would take its place", path)


@rule("LL105", Severity.WARNING, "use usr/bin, usr/lib and so on, or opt/NAME")
def local(facts: ExtensionFacts) -> Hits:
    """Something lies in /usr/local, which belongs to the administrator and is a mount of its own on some hosts."""
    for path, file in facts.below(_LOCAL):
        if file.kind is not FileKind.DIRECTORY:
            yield Hit("files in /usr/local may be hidden, or hide what the administrator has there", path)


@rule("LL106", Severity.WARNING, "leave it out, or give it a name of its own")
def hides_host(facts: ExtensionFacts) -> Hits:
    """A file would hide one of this host's."""
    for path in facts.host.hidden if facts.kind is Kind.SYSEXT else ():
        yield Hit(f"it would hide {path} of this host", path.lstrip("/"))


@rule("LL107", Severity.WARNING, "add what it is for")
def empty(facts: ExtensionFacts) -> Hits:
    """Nothing but the release file is inside."""
    releases = f"{facts.kind.traits.releases}/"
    if all(file.kind is FileKind.DIRECTORY or path.startswith(releases) for path, file in facts.files.items()):
        yield Hit("the extension brings nothing")


@rule("LL108", Severity.WARNING, "build one of each kind, from the two trees")
def both_kinds(facts: ExtensionFacts) -> Hits:
    """Release files of both kinds are inside."""
    for kind in Kind:
        if kind is not facts.kind and any(True for _ in facts.below(kind.traits.releases)):
            yield Hit(f"this is a {facts.kind} with the release file of a {kind}", kind.traits.releases)
