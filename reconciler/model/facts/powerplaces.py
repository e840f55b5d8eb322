"""The directories below which files give powers, so that links in their places have to be followed.

Each is a pattern of a path, whose parts are patterns themselves; what leads to one of them counts, too.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

_OF_PYTHON: Final = r"(?:python|pypy)[0-9.]*/[^/]+/[^/]+"
_OF_PERL: Final = r"(?:perl5?(?:/[^/]+)?|site_perl)"
_OF_LIB: Final = (
    r"systemd/(?:system|user)(?:\.control|\.attached)?/[^/]+\.(?:d|wants|requires|upholds)",
    *(r"systemd/[^/]+", r"livelayer/[^/]+/[^/]+/[^/]+", r"NetworkManager/[^/]+/[^/]+", r"networkd-dispatcher/[^/]+"),
    *(
        r"kernel/[^/]+",
        r"rpm(?:-plugins)?(?:/[^/]+)*",
        r"(?:apt|dpkg|cups|tuned)(?:/[^/]+)*",
        r"ignition/[^/]+/[^/]+",
        r"dracut[^/]*/[^/]+/[^/]+",
        r"firewalld/[^/]+",
        r"udev/[^/]+",
    ),
    *(r"(?:extensions|confexts)/[^/]+(?:/[^/]+)*", r"[^/]+\.d", r"userdb", r"credstore[^/]*", r"netplan"),
    *(r"modules/[^/]+(?:/[^/]+)*", r"firmware(?:/[^/]+)*", r"glibc-hwcaps/[^/]+", r"security"),
    *(r"gconv(?:/[^/]+)*", r"gio/modules", r"dbus-1/[^/]+", r"cni", r"docker/[^/]+", _OF_PERL),
    _OF_PYTHON,
)
_OF_LIBRARIES: Final = (
    *(r"security", r"glibc-hwcaps/[^/]+", r"gconv(?:/[^/]+)*", r"rpm(?:-plugins)?(?:/[^/]+)*", _OF_PERL),
    *(r"gio/modules", r"NetworkManager/[^/]+"),
    r"(?:tls|haswell|xeon_phi|avx512_1|x86_64|platform|sse2|i[3-6]86|power[0-9]+)(?:/[^/]+)*",
)
_OF_SHARE: Final = (
    *(r"systemd/user/[^/]+", r"user-tmpfiles\.d", r"p11-kit/modules"),
    *(r"dbus-1/[^/]+", r"polkit-1/[^/]+", r"(?:selinux|apparmor)[^/]*(?:/[^/]+)*", r"containers/[^/]+(?:/[^/]+)*"),
    *(
        r"(?:initramfs-tools|libalpm)/[^/]+/[^/]+",
        r"(?:pki|ca-certificates)(?:/[^/]+){0,2}",
        r"factory(?:/[^/]+)*",
        _OF_PERL,
        r"(?:fish|zsh|bash-completion)/[^/]+",
    ),
)
_PLACES: Final = (
    *(f"{top}/{it}" for top in ("usr/lib", "usr/local/lib") for it in _OF_LIB),
    *(
        f"usr/{local}lib{bits}/{it}"
        for local in ("", "local/")
        for bits in ("32", "64", "x32")
        for it in _OF_LIBRARIES
    ),
    *(f"usr/{local}lib/[^/]+-linux-[^/]+/{it}" for local in ("", "local/") for it in _OF_LIBRARIES),
    f"usr/lib64/{_OF_PYTHON}",
    *(f"{top}/{it}" for top in ("usr/share", "usr/local/share") for it in _OF_SHARE),
    *(f"{top}(?:/[^/]+){{0,5}}" for top in ("etc", "usr/etc", "usr/local/cloud-config")),
    *("usr/s?bin", "usr/local/s?bin", "usr/libexec/[^/]+", "usr/libexec/(?:kubernetes|cni|docker)(?:/[^/]+)*"),
)


def matters(directory: str) -> bool:
    """Whether what is in a directory, or in one below, may give a power."""
    return _pattern().fullmatch(directory) is not None


@cache
def _pattern() -> re.Pattern[str]:
    return re.compile("|".join(map(_leading_to, dict.fromkeys(_PLACES))), re.DOTALL)


def _leading_to(place: str) -> str:
    """A pattern of a place and of all that lie above it, but for the root."""
    parts = _parts(place)
    pattern = ""
    for part in reversed(parts[1:]):
        pattern = f"(?:/{part}{pattern})?"
    return f"{parts[0]}{pattern}"


def _parts(place: str) -> list[str]:
    """The parts between slashes, where these are not in brackets of the pattern."""
    parts, depth = [""], 0
    for sign in place:
        depth += (sign in "([") - (sign in ")]")
        if sign == "/" and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return parts
