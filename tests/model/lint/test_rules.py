"""Every rule finds what it is for, and a good extension has no findings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from reconciler.model.content.power import Power
from reconciler.model.facts.extensionfacts import Clash, File, HostFacts, Narrowed
from reconciler.model.facts.powers import Ability
from reconciler.model.fit.filekind import FileKind
from reconciler.model.fit.permissions import Permissions
from reconciler.model.images.veritysignature import VeritySignature
from reconciler.model.lint.rule import Severity, fails, lint
from reconciler.model.lint.rules import RULES, UNREADABLE
from tests.model.lint.extensions import (
    NOW,
    RELEASE,
    UNITS,
    UPHOLDS,
    directory,
    extension,
    file,
    image,
    link,
    program,
    script,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.facts.extensionfacts import ExtensionFacts

MIB: Final = 1 << 20
ANY: Final = "ID=_any\nARCHITECTURE=x86-64\nEXTENSION_RELOAD_MANAGER=1\n"
DROP_IN: Final = {UPHOLDS: None}
WANTED: Final = {f"{UNITS}/multi-user.target.wants/x.service": link("../x.service"), **DROP_IN}
INSTALL: Final = {
    f"{UNITS}/x.service": file("[Service]\nExecStart=/usr/bin/x\n[Install]\nWantedBy=multi-user.target\n")
}
USER: Final = {f"{UNITS}/x.service": file("[Service]\nUser=ipfs\n")}
NARROWED: Final = Narrowed("/usr/share/y", Permissions(0o700), Permissions())
SHADOWING: Final = Ability(Power.SHADOWING, "usr/sbin/y", "is found before the host's /usr/bin/y")
HOST: Final = HostFacts(frozenset({"/usr/bin/python3", "/etc/hosts", "/usr/bin/bash"}), is_known=True)


def _named(stem: str | None, asked: str | None = None) -> ExtensionFacts:
    return extension(origin={"stem": stem}, asked_name=asked)


# What each rule finds, and what it must let pass.
FOUND: Final[Mapping[str, tuple[tuple[ExtensionFacts, str | None], ...]]] = {
    "LL001": ((extension(release=None), None),),
    "LL002": ((_named(None, "y"), None),),
    "LL003": ((_named("y"), None), (_named("y_1"), None), (_named("x-y-1.2"), None), (_named("xy-1.2"), None)),
    "LL004": ((extension({f"{RELEASE}y": file("ID=_any\n")}), None),),
    "LL005": ((extension(release="VERSION_ID=12\n"), RELEASE),),
    "LL006": ((extension(release="ID=debian\nEXTENSION_RELOAD_MANAGER=1\n"), RELEASE),),
    "LL007": (
        (extension({f"usr/lib/extension-release.d/extension-release.{'n' * 65}": file("ID=_any\n")}), None),
        (_named(None, "a b"), None),
    ),
    "LL008": ((extension({"usr/lib/os-release": file()}), "usr/lib/os-release"),),
    "LL009": ((extension(release="ID=_any\n"), RELEASE),),
    "LL010": (
        (extension({"usr/lib/modules/6.1.0-13/extra/x.ko": file()}, ANY), "usr/lib/modules/6.1.0-13"),
        (extension({"usr/lib/modules/6.1.0-13/x.ko.zst": file()}, "ID=arch\n"), "usr/lib/modules/6.1.0-13"),
    ),
    "LL101": ((extension({"srv/x": file()}), "srv"), (extension({"README": file()}), "README")),
    "LL102": ((extension({"bin/x": program()}), "bin"), (extension({"lib64": link("usr/lib64")}), "lib64")),
    "LL103": (
        (extension(host=HostFacts(clashes=(Clash("/usr/sbin", FileKind.SYMLINK),))), "usr/sbin"),
        (extension(host=HostFacts(clashes=(Clash("/usr/share/x", FileKind.DIRECTORY),))), "usr/share/x"),
    ),
    "LL104": ((extension({"usr/sbin/y": program()}), "usr/sbin"),),
    "LL105": ((extension({"usr/local/bin/y": program()}), "usr/local/bin/y"),),
    "LL106": ((extension(host=HostFacts(hidden=("/usr/bin/x",))), "usr/bin/x"),),
    "LL107": ((extension({"usr/bin/x": None, f"{UNITS}/x.service": None, **DROP_IN}), None),),
    "LL108": (
        (extension({"etc/extension-release.d/extension-release.x": file("ID=_any\n")}), "etc/extension-release.d"),
    ),
    "LL201": (
        (extension({"usr/bin/x": program(0o4755)}), "usr/bin/x"),
        (extension({"usr/bin/x": program(0o2755)}), "usr/bin/x"),
    ),
    "LL202": ((extension({"usr/bin/y": file(mode=0o755, has_capabilities=True)}), "usr/bin/y"),),
    "LL203": (
        (extension({"usr/share/x": file(mode=0o666)}), "usr/share/x"),
        (extension({"usr/share/x": directory(mode=0o777)}), "usr/share/x"),
    ),
    "LL204": (
        (extension({"usr/share/x": file(uid=1000)}), "usr/share/x"),
        (extension({"usr/share/x": file(gid=5), "usr/lib/sysusers.d/x.conf": file("u x 6\n")}), "usr/share/x"),
    ),
    "LL205": ((extension({"usr/share/x": file(mtime=NOW + 3600)}), "usr/share/x"),),
    "LL206": ((extension({"usr/share/x": File(FileKind.SPECIAL)}), "usr/share/x"),),
    "LL207": ((extension({"usr/share/x": directory(steers_overlay=True)}), "usr/share/x"),),
    "LL208": (
        (extension({"usr/bin/y": file()}), "usr/bin/y"),
        (extension({"usr/bin/y": program(0o700)}), "usr/bin/y"),
    ),
    "LL209": ((extension({"usr/bin/x": file(mode=0o755, label="system_u:object_r:bin_t:s0")}), RELEASE),),
    "LL210": (
        (replace(image(packed=9, unpacked=9), files=extension(release="ID=fedora\nVERSION_ID=41\n").files), None),
    ),
    "LL211": (
        (extension({"usr/bin": directory(mode=0o700)}), "usr/bin"),
        (extension({"usr/lib/systemd/system": directory(mode=0o750)}), "usr/lib/systemd/system"),
        (extension({"usr/share": directory(uid=1000)}), "usr/share"),
        (extension({"usr/share/y": directory(mode=0o700)}, host=HostFacts(narrowed=(NARROWED,))), "usr/share/y"),
    ),
    "LL301": ((extension(DROP_IN), f"{UNITS}/x.service"),),
    "LL302": ((extension({**INSTALL, **DROP_IN}), f"{UNITS}/x.service"),),
    "LL303": ((extension(WANTED), f"{UNITS}/x.service"), (extension({**WANTED, **INSTALL}), f"{UNITS}/x.service")),
    "LL304": ((extension(USER), f"{UNITS}/x.service"),),
    "LL305": tuple(
        (extension({f"{UNITS}/{unit}.d/x.conf": file("[Service]\n")}), f"{UNITS}/{unit}.d/x.conf")
        for unit in ("systemd-udevd.service", "systemd-fsck@.service", "var.mount", "systemd-journald.socket")
    ),
    "LL401": (
        (extension({"usr/bin/x": program(architecture="arm64")}), "usr/bin/x"),
        (extension({"usr/lib/x.so": program(0o644, architecture=None)}), "usr/lib/x.so"),
    ),
    "LL402": ((extension(release="ID=_any\nEXTENSION_RELOAD_MANAGER=1\n"), RELEASE),),
    "LL403": ((extension({"usr/bin/x": program(interpreter="/lib64/ld-linux-x86-64.so.2")}, ANY), "usr/bin/x"),),
    "LL404": (
        (extension({"usr/bin/y": script("/bin/sh\r")}), "usr/bin/y"),
        (extension({"usr/bin/y": script("python3")}), "usr/bin/y"),
        (extension({"usr/bin/y": script("")}), "usr/bin/y"),
    ),
    "LL405": ((extension({"usr/bin/y": script("/build/venv/bin/python")}), "usr/bin/y"),),
    "LL501": (
        (extension({"usr/bin/y": link("z")}), "usr/bin/y"),
        (extension({"usr/bin/y": link("/opt/x/y")}), "usr/bin/y"),
    ),
    "LL502": (
        (extension({"usr/lib/x": link("/var/lib/x")}), "usr/lib/x"),
        (extension({"usr/lib/x": link("../../build/x")}), "usr/lib/x"),
    ),
    "LL503": ((extension({"usr/lib/x": link("../../../../usr/bin/x")}), "usr/lib/x"),),
    "LL504": ((extension({"usr/bin/a": link("b"), "usr/bin/b": link("/usr/bin/a")}), "usr/bin/a"),),
    "LL601": ((extension(wants_signature=True), None),),
    "LL602": ((image(packed=100 * MIB, unpacked=MIB), None),),
    "LL603": ((image(packed=99 * MIB, unpacked=100 * MIB), None),),
    **{
        identity: tuple((extension({path: file()}), path) for path in paths)
        for identity, paths in {
            "LL701": ("usr/lib/sysusers.d/x.conf", "usr/lib/tmpfiles.d/x.conf", "usr/lib/systemd/network/x.network"),
            "LL702": ("usr/lib/udev/rules.d/70-x.rules", "usr/local/lib/udev/rules.d/70-x.rules"),
            "LL703": ("usr/lib/udev/hwdb.d/x.hwdb",),
            "LL704": ("usr/share/polkit-1/rules.d/x.rules", "usr/share/polkit-1/actions/x.policy"),
            "LL705": ("usr/lib/modules-load.d/x.conf",),
            "LL706": ("usr/lib/sysctl.d/x.conf",),
            "LL707": ("usr/lib/binfmt.d/x.conf", "usr/lib/systemd/journald.conf.d/x.conf"),
        }.items()
    },
    "LL801": tuple(
        (extension({path: file()}), path)
        for path in (
            "usr/lib/livelayer/extensions.d/zz.yaml",
            "usr/share/containers/policy.json",
            "usr/bin/livelayer",
        )
    ),
    "LL802": (
        (extension({f"{UNITS}/sshd.service.d/x.conf": file()}), f"{UNITS}/sshd.service.d/x.conf"),
        (extension({"usr/lib/sysusers.d/x.conf": file("m x wheel\n")}), "usr/lib/sysusers.d/x.conf"),
        (extension(host=HostFacts(abilities=(SHADOWING,))), "usr/sbin/y"),
    ),
}
PASSED: Final[Mapping[str, tuple[ExtensionFacts, ...]]] = {
    "LL002": (_named(None, "x"), _named("y", "x")),
    "LL003": (_named("x"), _named("x_1.2"), _named("x-v1.31.1-x86-64"), _named(None), _named("y", "x")),
    "LL006": (extension(release="ID=debian\nSYSEXT_LEVEL=1\n"), extension(release="ID=_any\n")),
    "LL009": (extension({f"{UNITS}/x.service": None, **DROP_IN}, "ID=_any\n"),),
    "LL010": (extension({"usr/lib/modules/6.1.0-13/extra/x.ko": file()}),),
    "LL101": (extension({"opt/x": file(), "etc": directory()}),),
    "LL105": (extension({"usr/local/bin": directory()}),),
    "LL203": (extension({"usr/share/x": directory(mode=0o1777)}), extension({"usr/bin/y": link("x")})),
    "LL204": (
        extension({"usr/share/x": file(uid=6, gid=6), "usr/lib/sysusers.d/x.conf": file("u x 6\n")}),
        extension({"usr/share/x": file(uid=1000)}, origin={"knows_owners": False}),
    ),
    "LL205": (extension({"usr/share/x": file(mtime=NOW + 1)}),),
    "LL208": (
        extension({"usr/bin/y": link("x"), "usr/share/x": file()}),
        extension({"usr/bin/y": replace(program(0o750), gid=6)}),
    ),
    "LL209": (extension(),),
    "LL210": (image(packed=9, unpacked=9),),
    "LL211": (
        extension({"usr/bin": directory(mode=0o555), "usr/share/y": directory(mode=0o700)}),
        extension({"usr/bin": directory(uid=1000)}, origin={"knows_owners": False}),
    ),
    "LL802": (extension({"usr/lib/sysusers.d/x.conf": file("u x -\n")}),),
    "LL302": (extension(INSTALL), extension({f"{UNITS}/x@.service": INSTALL[f"{UNITS}/x.service"]})),
    "LL303": (extension({**WANTED, UPHOLDS: file("[Unit]\nUpholds=x.service\n")}),),
    "LL304": (
        extension({**USER, "usr/lib/sysusers.d/x.conf": file("u ipfs - -\n")}),
        extension({f"{UNITS}/x.service": file("[Service]\nUser=ipfs\nDynamicUser=yes\n")}),
    ),
    "LL305": (
        extension({f"{UNITS}/x.service.d/x.conf": file(), f"{UNITS}/sshd.service.d/x.conf": file()}),
        extension({f"{UNITS}/opt-x.mount": file(), f"{UNITS}/opt-x.mount.d/x.conf": file()}),
    ),
    "LL702": (extension({"usr/lib/udev/rules.d": directory(), "usr/lib/udev/x": file()}),),
    "LL401": (extension({"usr/lib/firmware/x": program(architecture="arm64")}),),
    "LL403": (
        extension({"usr/bin/x": program(interpreter="/lib64/ld-linux-x86-64.so.2")}),
        extension({"usr/bin/x": program(interpreter="/usr/lib/x/ld.so"), "usr/lib/x/ld.so": program()}, ANY),
    ),
    "LL404": (extension({"usr/bin/y": script("/bin/sh")}), extension({"usr/lib/y": script("none", 0o644)})),
    "LL405": (
        extension({"usr/bin/y": script("/usr/bin/env")}),
        extension({"usr/bin/y": script("/usr/bin/python3")}, host=HOST),
        extension({"usr/bin/y": script("/usr/bin/x")}),
        extension({"usr/bin/y": script("/bin/x")}),
    ),
    "LL501": (
        extension({"usr/bin/y": link("x")}),
        extension({"usr/bin/y": link("/usr/bin/bash")}, host=HOST),
        extension({"usr/lib64": link("lib"), "usr/lib/y": link("../lib64/y.so"), "usr/lib/y.so": file()}),
    ),
    "LL502": (
        extension({f"{UNITS}/y.service": link("/dev/null")}),
        extension({"usr/lib/x": link("/etc/hosts")}, host=HOST),
    ),
    "LL503": (extension({"usr/lib/x": link("../../usr/bin/x")}),),
    "LL601": (
        extension(wants_signature=True, origin={"signature": VeritySignature("00", "00", 1)}),
        extension(),
    ),
    "LL602": (image(packed=10 * MIB, unpacked=MIB), extension(origin={"packed": 100 * MIB})),
    "LL603": (image(packed=50 * MIB, unpacked=100 * MIB), image(packed=MIB, unpacked=MIB)),
}


def _found(facts: ExtensionFacts) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {}
    for finding in lint(facts, RULES):
        found.setdefault(finding.rule.id, []).append(finding.path)
    return found


def test_a_good_extension_has_no_findings() -> None:
    assert lint(extension(), RULES) == []
    assert lint(extension(origin={"stem": "x"}), RULES) == []


def test_every_rule_has_a_case() -> None:
    assert list(FOUND) == [rule.id for rule in RULES]
    assert set(PASSED) <= set(FOUND)


@pytest.mark.parametrize(
    ("identity", "facts", "path"), [(identity, *case) for identity, cases in FOUND.items() for case in cases]
)
def test_found(identity: str, facts: ExtensionFacts, path: str | None) -> None:
    assert path in _found(facts)[identity]


@pytest.mark.parametrize(("identity", "facts"), [(it, facts) for it, cases in PASSED.items() for facts in cases])
def test_passed(identity: str, facts: ExtensionFacts) -> None:
    assert identity not in _found(facts)


def test_a_confext_is_judged_by_its_own_rules() -> None:
    files = dict.fromkeys(extension().files)
    release = "etc/extension-release.d/extension-release.c"
    good = extension({**files, "etc/c.conf": file(), release: file("ID=_any\n")}, None)
    assert _found(good) == {}
    assert _found(extension({**files, "etc/c.conf": file(), release: file("ID=_any\n"), "usr/x": file()}, None)) == {
        "LL101": ["usr"]
    }


def test_the_worst_comes_first_and_thousands_are_summed_up() -> None:
    many = {f"usr/share/{number:02}": file(uid=7) for number in range(25)}
    findings = lint(extension({**many, "usr/lib/os-release": file(), "usr/sbin/y": program()}), RULES)
    assert [finding.rule.id for finding in findings] == ["LL008", *["LL204"] * 11, "LL104"]
    assert findings[11].message == "and 15 more of these"


def test_names_cannot_forge_lines() -> None:
    (finding,) = lint(extension({"a\nb": file()}), RULES)
    assert "\n" not in finding.message


def test_what_fails() -> None:
    warnings = lint(extension({"usr/share/x": file(uid=7)}), RULES)
    assert [finding.rule.severity for finding in warnings] == [Severity.WARNING]
    assert not fails(warnings, strict=False)
    assert fails(warnings, strict=True)
    assert fails(lint(extension(release=None), RULES), strict=False)
    assert not fails([], strict=True)


def test_rules_are_told_apart() -> None:
    everything = [UNREADABLE, *RULES]
    assert len({rule.id for rule in everything}) == len(everything)
    assert all(rule.title and rule.hint for rule in everything)
    assert [rule.id for rule in everything] == sorted(rule.id for rule in everything)
