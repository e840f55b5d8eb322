"""Rules about owners, modes, times and attributes: LL2xx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.model.facts.extensionfacts import SETGID, SETUID, STICKY, ExtensionFacts
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.permissions import NARROWED_HINT, Permissions, is_usual
from reconciler.model.lint.rule import Hit, Hits, Severity, rule

if TYPE_CHECKING:
    from collections.abc import Iterator


_WORLD_WRITABLE: Final = 0o002
_EXECUTABLE: Final = 0o111
_BY_OTHERS: Final = 0o001
_TOLERANCE: Final = 60  # seconds that clocks may differ
_SYSUSERS: Final = ("usr/lib/sysusers.d", "etc/sysusers.d")
_WITH_SELINUX: Final = frozenset({"fedora", "rhel", "centos", "almalinux", "rocky"})
_COMMANDS: Final = ("usr/bin", "usr/sbin")


@rule("LL201", Severity.WARNING, "give the one capability that it needs, or start it by a unit; else --ignore LL201")
def setuid(facts: ExtensionFacts) -> Hits:
    """A program is setuid or setgid."""
    for path, file in facts.of_kind(FileKind.FILE):
        if file.mode & (SETUID | SETGID):
            words = "setuid" if file.mode & SETUID else "setgid"
            yield Hit(f"it is {words}, and runs as {_owner(file.uid if file.mode & SETUID else file.gid)}", path)


@rule("LL202", Severity.NOTE, "nodes with settings.limits.setuid: false refuse it")
def capabilities(facts: ExtensionFacts) -> Hits:
    """A program has file capabilities."""
    for path, file in facts.of_kind(FileKind.FILE):
        if file.has_capabilities:
            yield Hit("it has file capabilities", path)


@rule("LL203", Severity.ERROR, "take the right to write from others: chmod o-w")
def world_writable(facts: ExtensionFacts) -> Hits:
    """Everybody may write a file or directory."""
    for path, file in facts.files.items():
        is_shared = file.kind is FileKind.DIRECTORY and file.mode & STICKY
        if file.kind is not FileKind.SYMLINK and file.mode & _WORLD_WRITABLE and not is_shared:
            yield Hit(f"everybody may write it (mode {file.mode:04o})", path)


@rule(
    "LL204",
    Severity.WARNING,
    "give it to root, or bring a file in usr/lib/sysusers.d that makes the user with this number",
)
def foreign_owner(facts: ExtensionFacts) -> Hits:
    """A file belongs to a user or group that no host is sure to have."""
    if not facts.origin.knows_owners:
        return
    made = {("u", 0), ("g", 0), *_made_numbers(facts)}
    for path, file in facts.files.items():
        if ("u", file.uid) not in made or ("g", file.gid) not in made:
            yield Hit(f"it belongs to {file.uid}:{file.gid}, which may be anybody on another host", path)


@rule("LL205", Severity.WARNING, "build with SOURCE_DATE_EPOCH, or correct the clock")
def from_the_future(facts: ExtensionFacts) -> Hits:
    """A file is newer than now."""
    for path, file in facts.files.items():
        if file.mtime > facts.now + _TOLERANCE:
            yield Hit("its time of modification lies in the future", path)


@rule("LL206", Severity.ERROR, "leave it out; tmpfiles.d can make it at run time")
def special(facts: ExtensionFacts) -> Hits:
    """There is a device, a FIFO or a socket; overlayfs takes some devices for deletions."""
    for path, _ in facts.of_kind(FileKind.SPECIAL):
        yield Hit("it is a device, a FIFO or a socket, which no extension may contain", path)


@rule("LL207", Severity.ERROR, "remove it: setfattr -x")
def steers_overlay(facts: ExtensionFacts) -> Hits:
    """An extended attribute of overlayfs would change the overlay."""
    for path, file in facts.files.items():
        if file.steers_overlay:
            yield Hit("it has an extended attribute of overlayfs, which hides or redirects what the host has", path)


@rule("LL208", Severity.WARNING, "chmod a+rx")
def not_executable(facts: ExtensionFacts) -> Hits:
    """A command is not executable, or by root alone."""
    for directory in _COMMANDS:
        for path, file in facts.below(directory):
            if file.kind is not FileKind.FILE:
                continue
            if not file.mode & _EXECUTABLE:
                yield Hit(f"it is not executable (mode {file.mode:04o})", path)
            elif not file.mode & _BY_OTHERS and not file.gid:
                yield Hit(f"nobody but root can run it (mode {file.mode:04o})", path)


@rule(
    "LL209",
    Severity.WARNING,
    "label all files, or none: hosts with SELinux take a file without a label for unlabeled_t",
)
def partly_labelled(facts: ExtensionFacts) -> Hits:
    """Some files have an SELinux label and others have none."""
    if any(file.label for file in facts.files.values()):
        for path, file in facts.files.items():
            if not file.label:
                yield Hit("it has no SELinux label, and others have", path)


@rule("LL210", Severity.NOTE, "label the tree before it is packed, with setfiles and the policy of the OS")
def unlabelled(facts: ExtensionFacts) -> Hits:
    """An image file for an OS with SELinux has no labels."""
    is_meant = facts.origin.image and facts.origin.knows_attributes and facts.release.get("ID") in _WITH_SELINUX
    if is_meant and not any(file.label for file in facts.files.values()):
        yield Hit(f"no file has an SELinux label, and hosts with ID={facts.release['ID']} enforce them")


@rule("LL211", Severity.ERROR, NARROWED_HINT)
def narrowed(facts: ExtensionFacts) -> Hits:
    """A directory that hosts have, too, would let fewer users in, or belong to somebody else than root."""
    narrowed = {it.path.lstrip("/"): str(it) for it in facts.host.narrowed}
    for path, file in facts.of_kind(FileKind.DIRECTORY):
        if path in narrowed:
            yield Hit(narrowed[path], path)
        elif is_usual(path) and not Permissions(file.mode, file.uid if facts.origin.knows_owners else 0).is_open:
            yield Hit(f"mode and owner {file.permissions} would count for the host's /{path}", path)


def _owner(number: int) -> str:
    return "root" if number == 0 else str(number)


def _made_numbers(facts: ExtensionFacts) -> Iterator[tuple[str, int]]:
    """The numbers of users and groups that the extension's sysusers.d makes; a user's group has its number."""
    for words in sysusers(facts):
        if words[0].rstrip("!") in {"u", "g"} and len(words) > 2 and words[2].partition(":")[0].isdigit():  # noqa: PLR2004
            number = int(words[2].partition(":")[0])
            yield "g", number
            if words[0] != "g":
                yield "u", number


def sysusers(facts: ExtensionFacts) -> Iterator[list[str]]:
    """The lines of the extension's sysusers.d, in words."""
    for directory in _SYSUSERS:
        for _, file in facts.below(directory):
            lines = (line.split() for line in (file.text or "").splitlines() if not line.lstrip().startswith("#"))
            yield from (words for words in lines if len(words) > 1)
