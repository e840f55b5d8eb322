"""What paths, and what is in some files at them, let an extension do to a host: the rules, as data.

A pattern is of whole paths. `etc` is also `usr/etc`, where some systems have the defaults of what lies in `etc`.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Final

from reconciler.dataclass import dataclass
from reconciler.model.content.power import Power
from reconciler.model.facts.unitfiles import logical_lines, parse_unit

if TYPE_CHECKING:
    from collections.abc import Callable

_ETC: Final = r"(?:usr/)?etc"
_LIB: Final = rf"(?:usr/lib|usr/local/lib|{_ETC})"
_SHARE: Final = rf"(?:usr/share|usr/local/share|{_ETC})"
_LIBRARIES: Final = r"usr/(?:local/)?lib(?:32|64|x32|/\w+-linux-\w+)?"
_PYTHON: Final = r"usr/(?:local/)?lib(?:64)?/(?:pypy|python)[0-9.]*(?:/(?:dist|site)-packages)?"
_STARTUP: Final = (
    rf"{_PYTHON}/(?:[^/]+\.pth|(?:site|user)customize(?:\.py|/__init__\.py))|{_ETC}/python[0-9.]*/sitecustomize\.py"
)
# What Python looks for although no host has it: the standard library asks for modules of other systems, and a zipped
# library comes first on the search path.
_ODD_MODULES: Final = rf"{_PYTHON}/(?:nt|msvcrt|_winapi|winreg|org)[./].+|usr/(?:local/)?lib(?:64)?/python[0-9]+\.zip"
# What nearly each program in Perl begins with; Debian's own lie at the end of the search path (perl-base).
_PERL: Final = (
    r"usr/(?:local/)?(?:share|lib(?:64)?(?:/\w+-linux-\w+)?)/(?:perl5?(?:/(?:[0-9.]+|vendor_perl))?|site_perl)"
    r"/(?:strict|warnings|utf8|vars|constant|base|parent|feature|overload|Carp|Config|Exporter|POSIX|XSLoader)\.pm"
)
_BIN: Final = r"usr/(?:local/)?s?bin"
# Sections of NetworkManager, kernel-install, initramfs-tools, dracut, apt and cron that are programs, or name some.
_HOOKS: Final = (
    rf"{_LIB}/(?:NetworkManager/(?:dispatcher|pre-up|pre-down)\.d|networkd-dispatcher|kernel|ignition)/.+"
    rf"|{_ETC}/(?:cron\.(?:d|hourly|daily|weekly|monthly)/.+|crontab|anacrontab|rc\.local|rc\.d/.+|init\.d/.+)"
    rf"|{_ETC}/(?:update-motd\.d|grub\.d|kernel|initramfs|initramfs-tools|network/if-[a-z-]+\.d|dhcp/.+-hooks\.d|apt/apt\.conf\.d|logrotate\.d)/.+"
    rf"|usr/share/(?:initramfs-tools|libalpm/hooks|containers/oci/hooks\.d)/.+|usr/lib(?:64)?/rpm(?:-plugins)?/.+|usr/lib/(?:apt|dpkg)/.+|usr/lib/(?:cups/(?:backend|filter)|tuned)/.+|usr/libexec/dhcpcd-hooks/.+|{_LIB}/dracut(?:\.conf)?\.d/.+|usr/lib/dracut/.+|{_ETC}/(?:default/.+|cloud/.+|dracut\.conf)"
    rf"|{_ETC}/(?:dpkg/dpkg\.cfg(?:\.d/.+)?|incron\.d/.+|inittab|request-key(?:\.conf|\.d/.+)|mkinitcpio\.(?:conf|d/.+)|dhcpcd\.(?:enter|exit)-hook"
    r"|kubernetes/manifests/.+|libvirt/hooks/.+|vmware-tools/.+|fail2ban/action\.d/.+|(?:salt|puppet|openvpn|wireguard|wpa_supplicant)/.+|gitconfig)"
    rf"|{_ETC}/(?:at\.(?:allow|deny)|ppp/.+|acpi/.+|audit/.+|rsyslog(?:\.d/.+|\.conf))"
)
_LOGIN: Final = (
    rf"{_LIB}/(?:pam\.d|userdb|sudoers\.d|credstore(?:\.encrypted)?)/.+|{_LIBRARIES}/(?:security/)?(?:pam_|libnss_)[^/]+\.so[^/]*"
    rf"|{_ETC}/(?:pam\.conf|nsswitch\.conf|passwd|shadow|group|gshadow|sudoers|doas\.conf|securetty|login\.defs|sssd/.+|subuid|subgid"
    r"|ssh/.+|security/.+|krb5\.conf(?:\.d/.+)?|hosts|resolv\.conf|ssl/.+|pki/.+|ca-certificates/.+)"
)
_SYSTEM: Final = r"system(?:\.control|\.attached)?"
UNIT_FILE: Final = rf"(?:{_LIB}|{_SHARE})/systemd/(system|user)/([^/]+)"
DROP_IN: Final = rf"(?:{_LIB}/systemd/(?:{_SYSTEM}|user)|{_SHARE}/systemd/user)/([^/]+)\.d/[^/]+\.conf"
DEPENDENCY: Final = rf"{_LIB}/systemd/{_SYSTEM}/([^/]+)\.(?:wants|requires|upholds)/([^/]+)"
_EXTENSIONS: Final = rf"(?:usr/(?:local/)?lib|{_ETC})/(?:extensions|confexts)"
# Directories of versions (systemd.v(7)) have one level more.
NESTED: Final = rf"{_EXTENSIONS}/(?:[^/]+\.v/)?[^/]+/(?P<inside>(?:usr|opt|etc)/.+)"
# Drop-ins for all services, and for all whose names begin alike, are for these as well.
_OWN_UNITS: Final = (
    rf"{_LIB}/systemd/{_SYSTEM}/livelayer(?:-[a-z]+)?\.[a-z]+(?:\.d/.+|\.(?:wants|requires)/.+)?"
    rf"|{_LIB}/systemd/{_SYSTEM}/(?:(?:livelayer|systemd)-\.)?service\.d/.+"
)
ITSELF: Final = rf"{_BIN}/livelayer|{_OWN_UNITS}|usr/(?:local/)?lib/livelayer/python/.+|{_PYTHON}/reconciler/.+"


@dataclass(frozen=True, slots=True)
class Rule:
    """What files at some paths can do."""

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
    names = (
        r"\b(?:RUN|PROGRAM|SYSTEMD_(?:USER_)?WANTS|SYSTEMD_ALIAS|SYSCTL)\b|\bIMPORT\{program\}"
        r"|\bIMPORT\{builtin\}\s*[=!]*=\s*(?:e\"|\"\s*kmod)"
        r"|\b(?:MODE|OWNER|GROUP)\s*[:+-]?=|\b(?:SECLABEL|ATTR|SYSCTL)\{[^}]*\}\s*[:+]?=(?!=)"
        r"|\bTAG\s*[:+]?=(?!=)\s*(?:e\"|\"uaccess)"
    )
    return re.search(names, "\n".join(logical_lines(text, "#", ""))) is not None


def _is_started_as_root(text: str) -> bool:
    """What other sections say is nothing to D-Bus."""
    _, *sections = re.split(r"(?m)^[ \t]*(?=\[)", text.replace("\r", "\n"))
    own = [parse_unit(it) for it in sections if it.startswith("[D-BUS Service]")]
    users = [it.get("User", [])[-1:] for it in own] or [[]]
    asks_systemd = any("SystemdService" in it for it in own)  # whose unit says as whom
    return asks_systemd or any(it in ([], ["root"], ["0"]) for it in users)


def _makes_root(text: str) -> bool:
    """Whether a line of sysusers.d(5) makes a user or group that somebody is already, or gives one a group."""
    lines = re.split(r"[\n\r\0]", text)
    return any(_is_privileged(line) for line in lines if line.strip() and line.lstrip()[:1] != "#")


def _is_privileged(line: str) -> bool:
    try:
        kind, name, *others = shlex.split(line)
    except ValueError:
        return True
    numbers = others[0].split(":") if others else []
    has_group = len(numbers) > 1 and numbers[1] not in {"", "-", name}  # one that may be there
    return kind[:1] == "m" or name == "root" or has_group or any(_is_anybodys(it, name) for it in numbers)


def _is_anybodys(number: str, name: str) -> bool:
    """Whether a number is root's, or is taken from a file or from a group that the line does not make."""
    return number not in {"", "-", name} and not (number.strip("0") and re.fullmatch("[0-9-]+", number))


# What is in each path that a rule means: to look for that costs less than to try all rules, of a million paths.
MARK: Final = (
    r"^(?:usr/)?etc/|/s?bin/|/(?:python|pypy)[0-9.]*(?:/|zip$)|/(?:systemd|livelayer|cloud-config|containers|NetworkManager"
    r"|networkd-dispatcher|kernel|ignition|initramfs-tools|libalpm|rpm|apt|dpkg|cups|tuned|factory|gconv|perl5?|site_perl|dhcpcd-hooks|dracut|firewalld|netplan|repart|sysupdate|pam\.d|userdb|sudoers\.d"
    r"|security|pam_|libnss_|pki|ca-certificates|selinux|apparmor|environment\.d|dbus-1|polkit-1|sysusers\.d|tmpfiles\.d|udev"
    r"|credstore|modules|user-tmpfiles\.d|p11-kit|gio|kubernetes|cni|docker|firmware|modules-load\.d|modprobe\.d|sysctl\.d|binfmt\.d|glibc-hwcaps|fish|zsh|bash-completion|extensions|confexts|tls|haswell|xeon_phi|avx512_1|x86_64|platform|sse2|i[3-6]86|power[0-9]+)"
)
UNKNOWN: Final = Rule(Power.HOOKS, "", "leads to where nobody knows what is, in a place where that counts")
UNKNOWN_NESTED: Final = Rule(Power.LIVELAYER, "", "has an extension in it of which nobody knows what it holds")
RULES: Final = (
    Rule(
        Power.LIVELAYER,
        rf"{_EXTENSIONS}/(?:[^/]+\.v/)?[^/]+\.raw(?:\.v)?(?:/.+)?",
        "has an extension in an image file, into which nobody looks",
    ),
    Rule(
        Power.HOOKS,
        rf"{_BIN}/(?:u?mount|fsck|mkfs)\.[^/]+",
        "is run by mount, umount, fsck or mkfs for some file systems",
    ),
    Rule(
        Power.HOOKS,
        rf"{_BIN}/(?:request-key|bridge-stp|nfsdcltrack|cifs\.(?:upcall|idmap)|v86d|drbdadm|hotplug)",
        "is run by the kernel, as root",
    ),
    Rule(
        Power.HOOKS,
        rf"(?:usr/share|{_ETC})/containers/(?:containers|storage)\.conf(?:\.d/.+)?|{_ETC}/(?:docker/daemon\.json|containerd/.+|crio/.+|cni/.+)"
        r"|usr/libexec/(?:kubernetes|docker/cli-plugins|cni)/.+|usr/lib/(?:cni|docker/cli-plugins)/.+",
        "says what runs containers, or is run by what does, as root",
    ),
    Rule(
        Power.LIVELAYER,
        r"(?:usr/lib|etc)/livelayer/(?!python/).+|usr/local/cloud-config/.+|etc/kairos/.+|etc/\w+-release|etc/machine-id"
        r"|(?:etc|usr/share)/containers/(?:policy\.json|auth\.json|(?:registries|certs)\..+)|etc/docker/certs\.d/.+",
        "configures livelayer",
    ),
    Rule(
        Power.LIVELAYER,
        r"(?:usr/lib|etc)/systemd/import-pubring\.(?:gpg|pgp)",
        "says whose signatures livelayer takes",
    ),
    Rule(
        Power.LIVELAYER,
        rf"{_LIB}/systemd/(?:sysext|confext)\.conf(?:\.d/.+)?|{_LIB}/systemd/system/systemd-(?:sysext|confext).*",
        "changes how extensions are merged",
    ),
    Rule(Power.LIVELAYER, ITSELF, "is livelayer itself, or changes its units"),
    Rule(Power.LIVELAYER, _ODD_MODULES, "may run in livelayer, as in every Python program"),
    Rule(
        Power.GENERATORS,
        rf"{_LIB}/systemd/(?:system|user)-(?:environment-)?generators/.+",
        "runs a program in the service manager at each boot and reload, which can make any unit",
    ),
    Rule(
        Power.GENERATORS,
        rf"{_LIB}/systemd/system-(?:shutdown|sleep)/.+",
        "runs a program as root when it sleeps or ends",
    ),
    Rule(Power.HOOKS, _HOOKS, "is run by others, as root: by cron, the network, the package manager and the like"),
    Rule(
        Power.GENERATORS,
        rf"{_SHARE}/containers/systemd/.+",
        "has podman make services of it, which run as root (Quadlet)",
    ),
    Rule(
        Power.MANAGER,
        rf"{_LIB}/systemd/[a-z-]+\.conf(?:\.d/.+)?|{_LIB}/environment\.d/.+|{_LIB}/systemd/(?:system|user)-preset/.+",
        "changes the settings of systemd, the environment of all services or which of them are enabled",
    ),
    Rule(
        Power.MANAGER,
        rf"{_LIB}/(?:repart|sysupdate)(?:\.[^/]+)?\.d/.+",
        "says how disks are partitioned, or what the OS is replaced by",
    ),
    Rule(
        Power.MANAGER,
        rf"{_ETC}/(?:fstab|crypttab|veritytab|integritytab|exports(?:\.d/.+)?|auto\..+)",
        "says what is mounted and unlocked at boot",
    ),
    Rule(
        Power.MANAGER,
        rf"{_LIB}/(?:systemd/network|NetworkManager/(?:conf\.d|system-connections)|firewalld|netplan)/.+"
        rf"|{_ETC}/(?:nftables|iptables|ufw|network/interfaces).*",
        "sets up the network or the firewall",
    ),
    Rule(
        Power.LOGIN,
        rf"{_ETC}/(?:apt|dnf|yum\.repos\.d|yum|zypp|pacman|distro\.repos\.d|flatpak)(?:/.+|\.conf)"
        r"|usr/share/(?:pki/(?:ca-trust-source|trust)|ca-certificates/trust-source)/.+|usr/local/share/ca-certificates/.+",
        "says where the host takes packages from, or whose certificates it trusts",
    ),
    Rule(
        Power.LOGIN,
        rf"{_SHARE}/(?:selinux|apparmor|apparmor\.d)/.+",
        "changes what SELinux or AppArmor let programs do",
    ),
    Rule(
        Power.DBUS,
        rf"(?:{_SHARE}|usr/(?:local/)?lib)/dbus-1/system-services/.+",
        "is started as root when anybody calls it over D-Bus",
        _is_started_as_root,
    ),
    Rule(
        Power.DBUS,
        rf"{_SHARE}/dbus-1/system(?:\.conf|-local\.conf|\.d/.+)",
        "says who may call whom over the system's D-Bus",
    ),
    Rule(Power.POLKIT, rf"{_SHARE}/polkit-1/.+", "says who may do what without a password (polkit)"),
    Rule(Power.LOGIN, _LOGIN, "takes part in logging in, in becoming root or in whom the host trusts"),
    Rule(
        Power.SYSUSERS, rf"{_LIB}/sysusers\.d/.+", "makes a user who is root, or puts users into groups", _makes_root
    ),
    Rule(Power.TMPFILES, rf"{_LIB}/tmpfiles\.d/.+", "makes, changes or removes files anywhere, as root"),  # noqa: S108 - no file
    Rule(
        Power.TMPFILES,
        rf"{_SHARE}/user-tmpfiles\.d/.+",
        "makes, changes or removes files in the session of each user, root's among them",
    ),
    Rule(Power.TMPFILES, r"usr/share/factory/.+", "is copied to where it is missing, /etc for instance"),
    Rule(
        Power.UNITS,
        rf"(?:{_LIB}|{_SHARE})/systemd/user/[^/]+\.(?:wants|requires|upholds)/.+",
        "starts in the session of each user, root's among them",
    ),
    Rule(Power.UDEV, rf"{_LIB}/udev/rules\.d/.+", "runs programs as root when a device comes", _runs),
    Rule(
        Power.MODULES,
        r"usr/lib/modules/.+\.ko(?:\.[a-z0-9]+)?|usr/lib/firmware/.+",
        "runs in the kernel, or in devices",
    ),
    Rule(Power.MODULES, rf"{_LIB}/modules-load\.d/.+|{_ETC}/modules", "loads kernel modules at boot"),
    Rule(
        Power.MODPROBE, rf"{_LIB}/modprobe\.d/.+", "runs commands as root when a kernel module is loaded", _commands
    ),
    Rule(Power.SYSCTL, rf"{_LIB}/sysctl\.d/.+|{_ETC}/sysctl\.conf", "changes settings of the kernel"),
    Rule(Power.SYSCTL, rf"{_LIB}/binfmt\.d/.+", "has the kernel run an interpreter of its choice for files"),
    Rule(Power.PRELOAD, rf"{_STARTUP}|{_ODD_MODULES}", "runs in every Python program"),
    Rule(Power.PRELOAD, _PERL, "runs in every program that is written in Perl"),
    Rule(Power.PRELOAD, rf"{_LIBRARIES}/gconv/.+", "runs in every program that changes character sets"),
    Rule(
        Power.PRELOAD,
        rf"{_LIBRARIES}/(?:gio/modules|NetworkManager)/.+\.so.*|{_SHARE}/p11-kit/modules/.+|{_ETC}/pkcs11/modules/.+",
        "is loaded by programs that others run, as root among them",
    ),
    Rule(
        Power.PRELOAD,
        rf"{_ETC}/ld\.so\.(?:preload|conf(?:\.d/.+)?)|{_LIBRARIES}/glibc-hwcaps/.+"
        rf"|{_LIBRARIES}/(?:tls|haswell|xeon_phi|avx512_1|x86_64|platform|sse2|i[3-6]86|power[0-9]+)/(?:.+/)?lib[^/]+\.so.*",
        "puts libraries before those of the host, into every program",
    ),
    Rule(
        Power.PRELOAD,
        rf"{_ETC}/(?:profile|environment|bash\.bashrc|bashrc|profile\.d/.+|bash_completion\.d/.+|csh\..+|ksh\.kshrc|perl/.+|zsh.*|fish/.+|skel/.+)"
        r"|usr/(?:local/)?share/fish/vendor_conf\.d/.+",
        "runs in every shell, root's among them",
    ),
    Rule(
        Power.PRELOAD,
        r"usr/(?:local/)?share/(?:bash-completion/(?:completions|bash_completion)|fish/vendor_(?:completions|functions)\.d"
        r"|zsh/(?:vendor-completions|site-functions))/.+",
        "runs in shells, root's among them, when a word is completed",
    ),
)
