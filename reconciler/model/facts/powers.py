"""What an extension can do to a host beyond having files there, told by where its files lie and what is in some.

What a program that reads such files makes of them is not followed; where what is in a file decides, and it cannot be
read, the worst is assumed.
"""

from __future__ import annotations

import re
import shlex
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

from reconciler.dataclass import dataclass
from reconciler.errors import Invalid
from reconciler.model.content.power import Power
from reconciler.model.facts.needs import RESTARTED, declared
from reconciler.model.facts.unitfiles import parse_unit
from reconciler.model.kind import RELEASE_PREFIX, template_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from reconciler.model.fit.contents import Contents
    from reconciler.model.kind import Kind

_LIB: Final = r"(?:usr/lib|usr/local/lib|etc)"
_SHARE: Final = r"(?:usr/share|usr/local/share|etc)"
_LIBRARIES: Final = r"usr/(?:local/)?lib(?:32|64|x32|/\w+-linux-\w+)?"
_PYTHON: Final = r"usr/(?:local/)?lib(?:64)?/(?:pypy|python)[0-9.]*(?:/(?:dist|site)-packages)?"
# What Python runs at its start, or looks for although no host has it: the standard library asks for modules of other
# systems, and a zipped library comes first on the search path.
_STARTUP: Final = (
    rf"{_PYTHON}/(?:[^/]+\.pth|(?:site|user)customize(?:\.py|/__init__\.py)|(?:nt|msvcrt|_winapi|winreg|org)[./].+)"
    r"|usr/(?:local/)?lib(?:64)?/python[0-9]+\.zip"
)
_BIN: Final = r"usr/(?:local/)?s?bin"
PROGRAMS: Final = (
    *("blkid", "btrfs", "busctl", "cat", "cp", "debugfs", "dpkg-deb", "apt-get", "dump.erofs", "e2fsck"),
    *("find", "fsck.erofs", "gpgv", "journalctl", "ldconfig", "mkfs.erofs", "mke2fs", "networkctl", "prlimit"),
    *("rdsquashfs", "setfiles", "sh", "skopeo", "sqfs2tar", "systemctl", "systemd-confext", "systemd-dissect"),
    *("systemd-repart", "systemd-run", "systemd-sysext", "systemd-sysusers", "systemd-tmpfiles", "tar", "tar2sqfs"),
    *("udevadm", "unshare", "unsquashfs", "depmod", "mount", "python3"),
)
"""What livelayer runs, by name."""
_NAMES: Final = "|".join(map(re.escape, PROGRAMS))
# Sections of NetworkManager, kernel-install, initramfs-tools, dracut, apt and cron that are programs, or name some.
_HOOKS: Final = (
    rf"{_LIB}/(?:NetworkManager/(?:dispatcher|pre-up|pre-down)\.d|networkd-dispatcher|kernel/install\.d)/.+"
    r"|etc/(?:cron\.(?:d|hourly|daily|weekly|monthly)/.+|crontab|anacrontab|rc\.local|rc\.d/.+|init\.d/.+)"
    r"|etc/(?:kernel|initramfs|initramfs-tools|network/if-[a-z-]+\.d|dhcp/.+-hooks\.d|apt/apt\.conf\.d|logrotate\.d)/.+"
    r"|usr/share/initramfs-tools/.+|usr/lib/dracut/modules\.d/.+"
)
_LOGIN: Final = (
    rf"{_LIB}/(?:pam\.d|userdb|sudoers\.d|credstore(?:\.encrypted)?)/.+|{_LIBRARIES}/(?:security/)?(?:pam_|libnss_)[^/]+\.so[^/]*"
    r"|etc/(?:pam\.conf|nsswitch\.conf|passwd|shadow|group|gshadow|sudoers|doas\.conf|securetty|subuid|subgid"
    r"|ssh/sshd?_config(?:\.d/.+)?|security/.+|krb5\.conf(?:\.d/.+)?|hosts|resolv\.conf|ssl/.+|pki/.+|ca-certificates/.+)"
)
_SYSTEM: Final = r"system(?:\.control|\.attached)?"
_UNIT_FILE: Final = rf"{_LIB}/systemd/(system|user)/([^/]+)"
_DROP_IN: Final = rf"{_LIB}/systemd/(?:{_SYSTEM}|user)/([^/]+)\.d/[^/]+\.conf"
# Drop-ins for all services, and for all whose names begin alike, are for these as well.
_OWN_UNITS: Final = (
    rf"{_LIB}/systemd/{_SYSTEM}/livelayer(?:-[a-z]+)?\.[a-z]+(?:\.d/.+|\.(?:wants|requires)/.+)?"
    rf"|{_LIB}/systemd/{_SYSTEM}/(?:(?:livelayer|systemd)-\.)?service\.d/.+"
)
_ITSELF: Final = rf"{_BIN}/livelayer|{_OWN_UNITS}|usr/(?:local/)?lib/livelayer/python/.+|{_PYTHON}/reconciler/.+"


class Ability(NamedTuple):
    """What an extension can do, by what lies at a path of its."""

    power: Power
    path: str  # without a leading slash
    words: str  # what follows "it"


@dataclass(frozen=True, slots=True)
class _Rule:
    power: Power
    pattern: str  # of whole paths
    words: str
    is_meant: Callable[[str], bool] | None = None  # by what is in the file; None: its path tells


def _commands(text: str) -> bool:
    """Whether lines of modprobe.d(5) run commands."""
    plain = re.sub(r"\\(.)", lambda it: "" if it[1] == "\n" else it[1], text, flags=re.DOTALL)
    return any(line.split()[:1] in (["install"], ["remove"]) for line in plain.splitlines())


def _runs(text: str) -> bool:
    """Whether a rule of udev(7) runs programs, starts units or changes settings of the kernel."""
    names = r"\b(?:RUN|PROGRAM|SYSTEMD_(?:USER_)?WANTS|SYSTEMD_ALIAS|SYSCTL)\b|\bIMPORT\{program\}"
    return re.search(names, text.replace("\\\n", "")) is not None


def _is_started_as_root(text: str) -> bool:
    users = parse_unit(text).get("User", [])
    return users[-1:] in ([], ["root"], ["0"])


def _makes_root(text: str) -> bool:
    """Whether a line of sysusers.d(5) makes a user or group that somebody is already, or gives one a group."""
    return any(_is_privileged(line) for line in text.splitlines() if line.strip() and line.lstrip()[:1] != "#")


def _is_privileged(line: str) -> bool:
    try:
        kind, name, *others = shlex.split(line)
    except ValueError:
        return True
    numbers = others[0].split(":") if others else []
    has_group = len(numbers) > 1 and numbers[1] not in {"", "-", name, numbers[0]}  # one that may be there
    return kind[:1] == "m" or name == "root" or has_group or any(_is_anybodys(it, name) for it in numbers)


def _is_anybodys(number: str, name: str) -> bool:
    """Whether a number is root's, or is taken from a file or from a group that the line does not make."""
    return number not in {"", "-", name} and not (number.strip("0") and re.fullmatch("[0-9-]+", number))


# What is in each path that a rule means.
_MARK: Final = (
    r"^etc/|/s?bin/|/(?:python|pypy)[0-9.]*(?:/|zip$)|/(?:systemd|livelayer|cloud-config|NetworkManager|networkd-dispatcher|kernel"
    r"|initramfs-tools|dracut|pam\.d|userdb|sudoers\.d|security|pam_|libnss_|environment\.d|dbus-1|polkit-1|sysusers\.d"
    r"|tmpfiles\.d|udev|credstore|modules|firmware|modules-load\.d|modprobe\.d|sysctl\.d|binfmt\.d|glibc-hwcaps|vendor_conf\.d)"
)
_RULES: Final = (
    _Rule(
        Power.LIVELAYER,
        r"(?:usr/lib|etc)/livelayer/(?!python/).+|usr/local/cloud-config/.+|etc/kairos/.+|etc/\w+-release|etc/machine-id"
        r"|etc/containers/(?:policy\.json|auth\.json|(?:registries|certs)\..+)|etc/docker/certs\.d/.+",
        "configures livelayer",
    ),
    _Rule(
        Power.LIVELAYER,
        r"(?:usr/lib|etc)/systemd/import-pubring\.(?:gpg|pgp)",
        "says whose signatures livelayer takes",
    ),
    _Rule(
        Power.LIVELAYER,
        rf"{_LIB}/systemd/(?:sysext|confext)\.conf(?:\.d/.+)?|{_LIB}/systemd/system/systemd-(?:sysext|confext).*",
        "changes how extensions are merged",
    ),
    _Rule(Power.LIVELAYER, _ITSELF, "is livelayer itself, or changes its units"),
    _Rule(Power.LIVELAYER, rf"{_BIN}/(?:{_NAMES})", "has a program that livelayer runs"),
    _Rule(Power.LIVELAYER, _STARTUP, "runs in livelayer, as in every Python program"),
    _Rule(
        Power.GENERATORS,
        rf"{_LIB}/systemd/(?:system|user)-(?:environment-)?generators/.+",
        "runs a program in the service manager at each boot and reload, which can make any unit",
    ),
    _Rule(
        Power.GENERATORS,
        rf"{_LIB}/systemd/system-(?:shutdown|sleep)/.+",
        "runs a program as root when it sleeps or ends",
    ),
    _Rule(Power.HOOKS, _HOOKS, "is run by others, as root: by cron, the network, the package manager and the like"),
    _Rule(
        Power.MANAGER,
        rf"{_LIB}/systemd/[a-z]+\.conf(?:\.d/.+)?|{_LIB}/environment\.d/.+|{_LIB}/systemd/(?:system|user)-preset/.+",
        "changes the settings of systemd, the environment of all services or which of them are enabled",
    ),
    _Rule(
        Power.DBUS,
        rf"{_SHARE}/dbus-1/system-services/.+",
        "is started as root when anybody calls it over D-Bus",
        _is_started_as_root,
    ),
    _Rule(
        Power.DBUS,
        rf"{_SHARE}/dbus-1/system(?:\.conf|-local\.conf|\.d/.+)",
        "says who may call whom over the system's D-Bus",
    ),
    _Rule(Power.POLKIT, rf"{_SHARE}/polkit-1/.+", "says who may do what without a password (polkit)"),
    _Rule(Power.LOGIN, _LOGIN, "takes part in logging in, in becoming root or in whom the host trusts"),
    _Rule(
        Power.SYSUSERS, rf"{_LIB}/sysusers\.d/.+", "makes a user who is root, or puts users into groups", _makes_root
    ),
    _Rule(Power.TMPFILES, rf"{_LIB}/tmpfiles\.d/.+", "makes, changes or removes files anywhere, as root"),  # noqa: S108 - no file
    _Rule(Power.UDEV, rf"{_LIB}/udev/rules\.d/.+", "runs programs as root when a device comes", _runs),
    _Rule(
        Power.MODULES,
        r"usr/lib/modules/.+\.ko(?:\.[a-z0-9]+)?|usr/lib/firmware/.+",
        "runs in the kernel, or in devices",
    ),
    _Rule(Power.MODULES, rf"{_LIB}/modules-load\.d/.+", "loads kernel modules at boot"),
    _Rule(
        Power.MODPROBE, rf"{_LIB}/modprobe\.d/.+", "runs commands as root when a kernel module is loaded", _commands
    ),
    _Rule(Power.SYSCTL, rf"{_LIB}/sysctl\.d/.+|etc/sysctl\.conf", "changes settings of the kernel"),
    _Rule(Power.SYSCTL, rf"{_LIB}/binfmt\.d/.+", "has the kernel run an interpreter of its choice for files"),
    _Rule(
        Power.PRELOAD,
        _STARTUP,
        "runs in every Python program",
    ),
    _Rule(
        Power.PRELOAD,
        rf"etc/ld\.so\.(?:preload|conf(?:\.d/.+)?)|{_LIBRARIES}/glibc-hwcaps/.+",
        "puts libraries before those of the host, into every program",
    ),
    _Rule(
        Power.PRELOAD,
        r"etc/(?:profile|environment|bash\.bashrc|bashrc|profile\.d/.+|zsh.*)|usr/share/fish/vendor_conf\.d/.+",
        "runs in every shell, root's among them",
    ),
)


def abilities(paths: Iterable[str], read: Callable[[str], str | None]) -> list[Ability]:
    """What the files at these paths can do, in their order; `read` gives what is in one, or None."""
    listed = frozenset(paths)
    found = sorted(path for path in filter(re.compile(_MARK).search, listed) if _matches(_any(), path))
    able = (Ability(rule.power, path, rule.words) for path in found for rule in _meant(path, read))
    return [*able, *_drop_ins(listed)]


def foreign(found: Iterable[Ability], name: str, *, is_own: bool) -> list[Ability]:
    """Without that an extension is livelayer itself, where that is meant.

    It is meant of the extension that it runs from, and of one that the configuration calls `livelayer`.
    """
    is_meant = is_own or name == "livelayer"
    return [it for it in found if not (is_meant and is_itself(it))]


def is_itself(ability: Ability) -> bool:
    """Whether it is a file of livelayer's own."""
    return ability.power is Power.LIVELAYER and re.fullmatch(_ITSELF, ability.path, re.DOTALL) is not None


def refusal(found: Iterable[Ability], refused: Collection[Power]) -> Invalid | None:
    """Why what can do so must not be placed, in words of the first of it; None: nothing is refused."""
    meant = [it for it in found if it.power in refused]
    if not meant:
        return None
    first = meant[0]
    return Invalid(
        f"it {told(meant)[0]}; this node does not allow that",
        f"leave it out; if it is to be trusted with that: settings.limits.{first.power}: true",
        code="limit.livelayer" if first.power is Power.LIVELAYER else "limit.power",
    )


def restarts(contents: Contents, kind: Kind, paths: Iterable[str]) -> list[Ability]:
    """What its release files ask of units that an extension with these files does not bring."""
    own = set(unit_names(paths))
    named = {unit: name for name, it in contents.releases.items() for key in RESTARTED for unit in declared(it, key)}
    return [
        Ability(
            Power.UNITS,
            f"{kind.traits.releases}/{RELEASE_PREFIX}{name}",
            f"has {unit} restarted, which it does not bring",
        )
        for unit, name in named.items()
        if not _brought(unit, own)
    ]


def told(found: Iterable[Ability]) -> list[str]:
    """What can be done, for people: each thing once, with one of the files that can."""
    paths: dict[str, list[str]] = {}
    for it in found:
        paths.setdefault(it.words, []).append(it.path)
    return [f"{words}: /{first}{_more(others)}" for words, (first, *others) in paths.items()]


def _more(others: Collection[str]) -> str:
    return f" and {len(others)} more" if others else ""


def unit_names(paths: Iterable[str]) -> dict[str, str]:
    """The names of the system's unit files among these, and where each is."""
    matches = ((path, re.fullmatch(_UNIT_FILE, path)) for path in paths if "/systemd/" in path)
    return {match[2]: path for path, match in matches if match and match[1] == "system" and "." in match[2]}


@cache
def _any() -> re.Pattern[str]:
    """One pattern for all, since an extension may have a million paths."""
    return re.compile("|".join(f"(?:{rule.pattern})" for rule in _RULES), re.DOTALL)  # names may have line breaks


@cache
def _compiled() -> tuple[tuple[_Rule, re.Pattern[str]], ...]:
    return tuple((rule, re.compile(rule.pattern, re.DOTALL)) for rule in _RULES)


def _matches(pattern: re.Pattern[str], path: str) -> bool:
    return pattern.fullmatch(path) is not None or _leads(pattern, path)


def _leads(pattern: re.Pattern[str], path: str) -> bool:
    """Whether it stands where a directory belongs: it may lead elsewhere, to what no path tells."""
    name = path.rpartition("/")[2]
    return ("." not in name or name.endswith(".d")) and pattern.fullmatch(f"{path}/x") is not None


def _meant(path: str, read: Callable[[str], str | None]) -> Iterator[_Rule]:
    for rule, pattern in _compiled():
        if pattern.fullmatch(path):
            if rule.is_meant is None or _is_meant(rule.is_meant, read(path)):
                yield rule
        elif _leads(pattern, path):
            yield rule


def _is_meant(judge: Callable[[str], bool], text: str | None) -> bool:
    return text is None or judge(text)


def _drop_ins(paths: frozenset[str]) -> Iterator[Ability]:
    """Those for units that it does not bring itself; what a target wants besides is how an extension starts units."""
    own = set(unit_names(paths))
    for path in sorted(it for it in paths if ".d/" in it):
        match = re.fullmatch(_DROP_IN, path)
        if match and not match[1].endswith(".target") and not _brought(match[1], own):
            yield Ability(Power.UNITS, path, f"changes {match[1]}, which it does not bring")


def _brought(unit: str, own: set[str]) -> bool:
    return unit in own or template_of(unit) in own
