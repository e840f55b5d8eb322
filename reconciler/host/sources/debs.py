"""Debian packages as sources: downloaded by the machine's own apt, taken apart by dpkg-deb, never installed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from reconciler.errors import Invalid, NotInstalled, Unavailable
from reconciler.host.base.command import available, check, path_of, run
from reconciler.host.sources.packages import TIMEOUT, Package, unpack_into

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUFFIX: Final = ".deb"
_STATUS: Final = "var/lib/dpkg/status"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9+.-]+(:[a-z0-9-]+)?([=/][A-Za-z0-9.+~:-]+)?")
_TO_INSTALL: Final = re.compile(
    r"^Inst (?P<name>[^\s:]+)\S* (?:\[\S+\] )?\((?P<version>\S+) .*?\[(?P<arch>[a-z0-9-]+)\]\)"
)
_UNKNOWN: Final = re.compile(
    r"Unable to locate package|Version '.*' for '.*' was not found|has no installation candidate"
)
_UNMET: Final = re.compile(r"unmet dependencies|held broken packages")
_DEPENDENCY: Final = re.compile(r"(?:^|,)\s*([a-z0-9][a-z0-9+.-]+)")
_SCRIPTS: Final = ("preinst", "postinst")


def is_package_name(text: str) -> bool:
    """Whether apt could take this for a package's name, with a version or a suite perhaps."""
    return _NAME.fullmatch(text) is not None


def place_of(name: str) -> str | None:
    """Where a file of a system goes in the root that apt is to work for; None: it needs none of this file."""
    return name if name == _STATUS else None


def download(names: Sequence[str], scratch: Path, root: Path | None, _: str, *, depends: bool) -> list[Path]:
    """Download packages, and those that they depend on and that are not there yet, in the order of their names.

    `root` has dpkg's status file of the system that is to have the extension; None: this machine's. Architectures
    are apt's own matter.
    """
    if not available("apt-get"):
        hint = "give the files themselves, --debs FILE.deb..., or build on Debian or Ubuntu"
        raise NotInstalled("apt-get is not on this machine, which downloads packages by name", hint)
    wanted = [*names, *(_dependencies(names, root) if depends else ())]
    scratch.mkdir()
    _apt("env", f"--chdir={scratch}", path_of("apt-get"), "--quiet", "download", *wanted)
    return sorted(scratch.glob("*.deb"))


def open_package(file: Path, scratch: Path) -> tuple[Package, Path]:
    """What a package is, and the tar archive of its files, below `scratch`."""
    if not available("dpkg-deb"):
        raise NotInstalled("dpkg-deb is not on this machine, which takes packages apart", "install dpkg")
    done = run("dpkg-deb", "--show", "--showformat=${Package}\n${Version}\n${Depends}\n", str(file), timeout=TIMEOUT)
    if done.status != 0:
        raise Invalid(f"{file}: {done.complaint}", "name a Debian package")
    name, version, depends, *_ = done.stdout.decode().split("\n")
    archive = scratch / "data.tar"
    unpack_into(archive, file, "dpkg-deb", "--fsys-tarfile", str(file))
    listed = check(run("dpkg-deb", "--info", str(file), timeout=TIMEOUT), f"looking at {file}").stdout.decode()
    scripts = [it for it in _SCRIPTS if re.search(rf"\d+ lines\s+\*?\s*{it}\b", listed)]
    notices = (f"{name}: not run: {' and '.join(scripts)}",) if scripts else ()
    return Package(name, version, notices, tuple(_DEPENDENCY.findall(depends))), archive


def _dependencies(names: Sequence[str], root: Path | None) -> list[str]:
    """What apt would install beside the packages themselves."""
    status = root and _status(root)
    options = ["--simulate", "--no-install-recommends", "--quiet", "--no-remove"]
    options += [f"--option=Dir::State::status={status}"] if status else []
    found = (_TO_INSTALL.match(line) for line in _apt("apt-get", *options, "install", *names).splitlines())
    own = {re.split("[:=/]", name)[0] for name in names}
    return [
        f"{it['name']}:{it['arch']}={it['version']}" for it in found if it and it["name"].split(":")[0] not in own
    ]


def _status(root: Path) -> Path:
    """A system without dpkg has no packages."""
    status = root / _STATUS
    status.parent.mkdir(parents=True, exist_ok=True)
    status.touch()
    return status


def _apt(program: str, *arguments: str) -> str:
    done = run(program, *arguments, timeout=TIMEOUT)
    if done.status == 0:
        return done.stdout.decode(errors="replace")
    said = done.stderr + done.stdout.decode(errors="replace")
    words = done.complaint.removeprefix("E: ")
    if _UNKNOWN.search(said):
        raise Invalid(f"apt: {words}", "check the name, or run: apt-get update", code="source.not-found")
    if _UNMET.search(said):
        raise Invalid(f"apt: {words}", "see what is missing with: apt-get --simulate install", code="apt.unresolved")
    raise Unavailable(f"apt: {words}", "check the network, or run: apt-get update", code="apt.unavailable")
