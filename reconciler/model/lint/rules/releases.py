"""Rules about release files and names: LL0xx."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.release import LAX_SINCE
from reconciler.model.kind import NAME, RELEASE_PREFIX, Kind
from reconciler.model.lint.rule import Hit, Hits, Severity, rule

if TYPE_CHECKING:
    from reconciler.model.facts.extensionfacts import ExtensionFacts

# What may follow the name in a directory of releases, `-v1.31.1-x86-64`, or for systemd before 254, `_VERSION`.
_VERSIONED: Final = re.compile(r"[-_]v?[0-9].*|_[^_]+", re.IGNORECASE)
_MODULES: Final = re.compile(r"usr/lib/modules/(?P<version>[^/]+)/.*\.ko(\.(gz|xz|zst))?")
_RELOAD: Final = "EXTENSION_RELOAD_MANAGER"


@rule("LL001", Severity.ERROR, "add the release file, at least with ID=_any or with the ID and VERSION_ID of the OS")
def no_release_file(facts: ExtensionFacts) -> Hits:
    """There is no release file, so systemd ignores the extension."""
    if not facts.contents.releases:
        yield Hit(f"there is no release file; {facts.release_path} says which hosts it is for")


@rule(
    "LL002", Severity.ERROR, "rename the release file, or the extension, or set rename: true where it is configured"
)
def other_name(facts: ExtensionFacts) -> Hits:
    """No release file is for the name asked for with --name."""
    releases = sorted(facts.contents.releases)
    if facts.asked_name and releases and facts.contents.release_of(facts.asked_name, LAX_SINCE) is None:
        yield Hit(f"the release files are for {', '.join(releases)}, none is for {facts.asked_name}")


@rule(
    "LL003",
    Severity.WARNING,
    "name the file NAME.raw, or NAME-VERSION-ARCHITECTURE.raw in a directory of releases",
)
def file_of_other_name(facts: ExtensionFacts) -> Hits:
    """The image file's name is not that of the release file."""
    stem, releases = facts.origin.stem, facts.contents.releases
    if facts.asked_name or stem is None or not releases or facts.contents.release_of(stem, LAX_SINCE) is not None:
        return
    if not any(stem.startswith(it) and _VERSIONED.fullmatch(stem[len(it) :]) for it in releases):
        yield Hit(f"the image file is called {stem}, its release file is for {', '.join(sorted(releases))}")


@rule("LL004", Severity.WARNING, "keep the one that has the extension's name")
def several_release_files(facts: ExtensionFacts) -> Hits:
    """There are several release files."""
    releases = sorted(facts.contents.releases)
    if len(releases) > 1:
        yield Hit(f"there are {len(releases)} release files: {', '.join(releases[:5])}")


@rule("LL005", Severity.ERROR, "add ID=_any for content that needs nothing of the host, or the ID of its os-release")
def no_id(facts: ExtensionFacts) -> Hits:
    """A release file has no ID, so the extension fits no host."""
    for name, release in sorted(facts.contents.releases.items()):
        if not release.get("ID"):
            yield Hit("the release file has no ID", f"{facts.kind.traits.releases}/{RELEASE_PREFIX}{name}")


@rule(
    "LL006",
    Severity.WARNING,
    "add the VERSION_ID of the OS it was built for, or a level that both OS and extension have",
)
def no_version(facts: ExtensionFacts) -> Hits:
    """A release file has an ID, but neither VERSION_ID nor a level."""
    level = facts.kind.traits.level
    for name, release in sorted(facts.contents.releases.items()):
        bound = release.get("ID") not in {None, "", "_any"}
        if bound and not release.get("VERSION_ID") and not release.get(level):
            reason = f"ID={release['ID']} without VERSION_ID or {level} fits rolling releases only"
            yield Hit(reason, f"{facts.kind.traits.releases}/{RELEASE_PREFIX}{name}")


@rule("LL007", Severity.ERROR, "use letters, digits, dots, underscores, plus and minus signs: 64 at most")
def unusable_name(facts: ExtensionFacts) -> Hits:
    """The name is too long, or has characters that no extension's name can have."""
    names = {facts.asked_name, *facts.contents.releases} - {None}
    for name in sorted(name for name in names if name is not None and not NAME.fullmatch(name)):
        yield Hit(f"{name[:80]} cannot be the name of an extension")


@rule("LL008", Severity.ERROR, "leave it out: it is the host's")
def os_release(facts: ExtensionFacts) -> Hits:
    """usr/lib/os-release is inside, with which systemd refuses every extension."""
    if facts.contents.has_os_release:
        yield Hit("an extension must not bring an os-release file", facts.kind.traits.forbidden)


@rule(
    "LL009",
    Severity.WARNING,
    f"add {_RELOAD}=1 to the release file, for hosts without livelayer (systemd 255 on)",
)
def no_reload(facts: ExtensionFacts) -> Hits:
    """Units are inside, and the release file does not ask the service manager to read them."""
    if facts.contents.units and facts.release and facts.release.get(_RELOAD) != "1":
        yield Hit(f"there are units, and the release file has no {_RELOAD}=1", facts.release_path)


@rule("LL010", Severity.WARNING, "bind it to the OS's version: ID with VERSION_ID or SYSEXT_LEVEL")
def unbound_modules(facts: ExtensionFacts) -> Hits:
    """Kernel modules are inside, and the release file binds them to no version of the OS."""
    release = facts.release
    if facts.kind is not Kind.SYSEXT or not release:
        return
    is_bound = release.get("ID") != "_any" and (release.get("VERSION_ID") or release.get("SYSEXT_LEVEL"))
    paths = (path for path, _ in facts.of_kind(FileKind.FILE))
    kernels = sorted({match["version"] for path in paths if (match := _MODULES.fullmatch(path))})
    for kernel in [] if is_bound else kernels:
        yield Hit(f"the modules are for Linux {kernel}, and hosts may run another one", f"usr/lib/modules/{kernel}")
