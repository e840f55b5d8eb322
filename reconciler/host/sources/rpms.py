"""RPM packages as sources: downloaded by the machine's own dnf, taken apart by rpm's tools, never installed."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid, Malformed, NotInstalled, Unavailable
from reconciler.host.base.command import available, check, run
from reconciler.host.sources.packages import TIMEOUT, Package, unpack_into

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from reconciler.host.base.command import Finished

SUFFIX: Final = ".rpm"
_DATABASES: Final = ("usr/lib/sysimage/rpm/", "var/lib/rpm/", "usr/share/rpm/")  # where systems have it
# What else dnf needs to know of a system: which release it is, and where its packages come from.
_OF_A_SYSTEM: Final = re.compile(
    r"(usr/lib|etc)/os-release|etc/(yum\.repos\.d|distro\.repos\.d|pki/rpm-gpg|(dnf|yum)/vars)/[^/]+"
)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._~^:-]*")
# rpm's names of architectures where they are not the kernel's, by those of container images.
_ARCHITECTURES: Final = {"amd64": "x86_64", "arm64": "aarch64", "386": "i686", "arm": "armv7hl"}
_UNKNOWN: Final = re.compile(r"No package .* available|Unable to find a match|No match for argument", re.IGNORECASE)
_UNMET: Final = re.compile(r"nothing provides|Problem:|conflicting requests|some packages could not be found")
# What a package has run, by the tags of its header that tell.
_SCRIPTS: Final = {
    "PREIN": "%pre",
    "POSTIN": "%post",
    "PRETRANS": "%pretrans",
    "POSTTRANS": "%posttrans",
    **dict.fromkeys(("TRIGGERNAME", "FILETRIGGERNAME", "TRANSFILETRIGGERNAME"), "triggers"),
}
_HEADER: Final = "".join(f"%|{tag}?{{{tag} }}|" for tag in _SCRIPTS)
_FILES: Final = "[%{FILEUSERNAME}\\t%{FILECAPS}\\t%{FILENAMES}\\n]"
_QUERY: Final = f"%{{NAME}}\\n%{{EVR}}\\n{_HEADER}\\n[%{{REQUIRENAME}} ]\\n{_FILES}"
_PACKAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]*(?<!\.so)")  # not a library, a file or a feature
_NONE: Final = frozenset({"", "(none)"})  # of a file, and of every file of a package without any
_SHOWN: Final = 3  # files or owners of a kind that are named


def is_package_name(text: str) -> bool:
    """Whether dnf could take this for a package's name, with a version or an architecture perhaps."""
    return _NAME.fullmatch(text) is not None


def place_of(name: str) -> str | None:
    """Where a file of a system goes in the root that dnf is to work for; None: it needs none of this file."""
    for database in _DATABASES:
        if name.startswith(database):
            return f"{_own_database()}/{name.removeprefix(database)}".lstrip("/")
    return name if _OF_A_SYSTEM.fullmatch(name) else None


@cache
def _own_database() -> str:
    """Where this machine's rpm has its database, and looks for one in every root."""
    return check(run("rpm", "--eval", "%_dbpath", timeout=TIMEOUT), "rpm").stdout.decode().strip()


def download(
    names: Sequence[str], scratch: Path, root: Path | None, architecture: str, *, depends: bool
) -> list[Path]:
    """Download packages, and those that they depend on and that are not there yet, in the order of their names.

    `root` has the database and repositories of the system that is to have the extension; None: this machine's.
    """
    if not available("dnf"):
        hint = "install dnf and dnf-plugins-core, or give the files themselves: --rpms FILE.rpm..."
        raise NotInstalled("dnf is not on this machine, which downloads packages by name", hint)
    if depends and not _has_packages(root):
        where = "the base" if root else "this machine"
        raise Invalid(
            f"there are no RPM packages on {where}, so all of a system would come along",
            "name the nodes' system: --base docker://..., or give --no-depends",
        )
    scratch.mkdir()
    machine = _ARCHITECTURES.get(architecture, architecture)
    options = [f"--installroot={root}"] if root else []
    options += [f"--forcearch={machine}", "download", f"--destdir={scratch}", f"--arch={machine}", "--arch=noarch"]
    _dnf(*options, *(["--resolve"] if depends else ()), *names)
    return sorted(scratch.glob(f"*{SUFFIX}"))


def open_package(file: Path, scratch: Path) -> tuple[Package, Path]:
    """What a package is, and the tar archive of its files, below `scratch`; its digests and signature are checked."""
    for program in ("rpm", "rpmkeys", "rpm2archive"):
        if not available(program):
            raise NotInstalled(f"{program} is not on this machine, which takes packages apart", "install rpm")
    unchecked = _signature(file)
    done = run("rpm", "--query", "--nosignature", f"--queryformat={_QUERY}", "--package", str(file), timeout=TIMEOUT)
    told = check(done, f"looking at {file}").stdout.decode(errors="replace").splitlines()
    name, version, scripts, requires, *files = told
    archive = scratch / "data.tar"
    # It writes beside the package what it does not read from its input.
    unpack_into(archive, file, "rpm2archive", "--nocompression", "-")
    depends = tuple(dict.fromkeys(filter(_PACKAGE.fullmatch, requires.split())))
    return Package(name, version, tuple(_notices(name, scripts.split(), files, unchecked)), depends), archive


def _has_packages(root: Path | None) -> bool:
    options = [f"--root={root}"] if root else []
    done = run("rpm", *options, "--query", "--all", "--queryformat=x", timeout=TIMEOUT)
    return b"x" in done.stdout


def _signature(file: Path) -> str | None:
    """Check a package; returns the key that it is signed with and that rpm does not know, if so."""
    done = run("rpmkeys", "--checksig", "--verbose", str(file), timeout=TIMEOUT)
    said = done.stdout.decode(errors="replace") + done.stderr
    if ": BAD" in said or (done.status != 0 and "NOKEY" not in said):
        raise Malformed(f"{file} is no RPM package, or damaged: {_complaint(done, file)}", "fetch it again")
    unknown = re.search(r"key ID (?P<key>[0-9a-f]+): NOKEY", said)
    return unknown["key"] if unknown else None


def _complaint(done: Finished, file: Path) -> str:
    lines = [*done.stderr.splitlines(), *done.stdout.decode(errors="replace").splitlines()[1:]]
    said = next((line for line in lines if "OK" not in line), "it cannot be read")
    return said.removeprefix("error: ").removeprefix(f"{file}: ").strip()


def _notices(name: str, tags: Sequence[str], files: Sequence[str], unchecked: str | None) -> Iterator[str]:
    if scripts := dict.fromkeys(_SCRIPTS[tag] for tag in tags):
        yield f"{name}: not run: {' and '.join(scripts)}"
    rows = [row.split("\t", 2) for row in files]
    if owners := list(dict.fromkeys(owner for owner, _, _ in rows if owner != "root")):
        yield f"{name}: files of {_few(owners)} are root's here; let tmpfiles.d say whose they are"
    if capable := [f"{path} ({capabilities})" for _, capabilities, path in rows if capabilities not in _NONE]:
        yield f"{name}: without its file capabilities: {_few(capable)}"
    if unchecked:
        yield f"{name}: its signature was not checked, since rpm does not know the key {unchecked}"


def _few(words: Sequence[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return ", ".join(words[:_SHOWN]) + more


def _dnf(*arguments: str) -> None:
    # A repository that is down would else be passed over, and its packages be unknown.
    done = run("dnf", "--quiet", "--assumeyes", "--setopt=skip_if_unavailable=0", *arguments, timeout=TIMEOUT)
    if done.status == 0:
        return
    said = done.stderr + done.stdout.decode(errors="replace")
    words = done.complaint.removeprefix("Error: ")
    if _UNMET.search(said):
        raise Invalid(f"dnf: {words}", "see what is missing with: dnf repoquery --requires", code="dnf.unresolved")
    if _UNKNOWN.search(said):
        raise Invalid(
            f"dnf: {words}", "check the name, and see where dnf looks: dnf repolist", code="source.not-found"
        )
    raise Unavailable(f"dnf: {words}", "check the network and the repositories: dnf repolist", code="dnf.unavailable")
