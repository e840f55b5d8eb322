"""What an extension can do to a host, by its paths and by what is in some of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from reconciler.errors import Invalid
from reconciler.model.content.power import Power
from reconciler.model.facts.powers import abilities, foreign, refusal, restarts
from reconciler.model.fit.contents import Contents
from reconciler.model.kind import Kind

PROJECT: Final = Path(__file__).parents[3]
UNITS: Final = "usr/lib/systemd/system"
# By power: paths that tell, and files with a text that tells.
ABLE: Final[dict[Power, tuple[str | tuple[str, str], ...]]] = {
    Power.LIVELAYER: (
        "usr/lib/livelayer/extensions.yaml",
        "usr/lib/livelayer/extensions.d/zz.yaml",
        "usr/lib/livelayer",  # a link that leads elsewhere
        "usr/lib/livelayer/extensions.d",
        "etc/livelayer/auth.json",
        "usr/local/cloud-config/zz.yaml",
        "etc/kairos/90.yaml",
        "usr/lib/systemd/import-pubring.pgp",
        "etc/containers/policy.json",
        "etc/os-release",  # of a configuration extension: what fits the host
        "etc/containers/registries.conf.d/x.conf",
        "usr/share/containers/policy.json",
        "usr/lib/confexts/evil/etc/containers/policy.json",
        "usr/lib/extensions/evil.raw",
        "usr/lib/confexts/evil.v/evil_1/etc/livelayer/extensions.yaml",
        "usr/lib/extensions/evil.v/evil_1.raw",
        "usr/lib/extensions/one/usr/lib/extensions/two/usr/lib/livelayer/extensions.yaml",
        "usr/lib/extensions/one/usr/lib/extensions/two/usr/lib/confexts/evil.raw",
        "usr/local/lib/confexts/evil.raw.v/evil_1.raw",
        "usr/bin/livelayer",
        "usr/local/lib/livelayer/python/reconciler/cli.py",
        "usr/lib/python3/dist-packages/reconciler/__init__.py",
        f"{UNITS}/livelayer.service",
        f"{UNITS}/livelayer-boot.service.d/x.conf",
        f"{UNITS}/systemd-sysext.service.d/x.conf",
        "etc/systemd/sysext.conf.d/x.conf",
        "usr/local/lib/python3.11/dist-packages/nt.py",  # for which the standard library asks
        "usr/lib/python311.zip",
        "etc/systemd/system.control/livelayer.service.d/x.conf",
        f"{UNITS}/livelayer-.service.d/x.conf",
        "usr/lib/livelayer/extensions.d/zz\n.yaml",
    ),
    Power.GENERATORS: (
        "usr/lib/systemd/system-generators/x",
        "usr/lib/systemd/system-generators/a\nb",
        "etc/systemd/user-environment-generators/x",
        "usr/lib/systemd/system-sleep/x",
        "usr/lib/extensions/evil.v/evil_1/usr/lib/systemd/system-generators/x",
        *("usr/share/containers/systemd/x.container", "etc/containers/systemd/x.kube"),
    ),
    Power.HOOKS: (
        *(
            "etc/update-motd.d/99-x",
            "etc/grub.d/40_x",
            "etc/default/grub",
            "usr/lib/kernel/cmdline",
            "usr/etc/cron.d/x",
        ),
        *("etc/cloud/cloud.cfg.d/x.cfg", "usr/lib/ignition/base.d/x.ign", "usr/lib/dracut/dracut.conf.d/x.conf"),
        "etc/cron.d/x",
        *(
            "etc/dpkg/dpkg.cfg.d/x",
            "etc/request-key.d/x.conf",
            "etc/kubernetes/manifests/x.yaml",
            "etc/wireguard/wg0.conf",
        ),
        *("usr/lib/apt/methods/https", "usr/lib64/rpm-plugins/x.so", "usr/lib/dpkg/methods/x/install"),
        *("usr/lib/cups/backend/x", "usr/lib/tuned/x/script.sh"),
        "usr/lib/NetworkManager/dispatcher.d/x",
        "usr/lib/kernel/install.d/x.install",
        *("usr/sbin/request-key", "etc/containers/containers.conf", "usr/share/containers/storage.conf"),
        *("etc/docker/daemon.json", "etc/containerd/config.toml", "etc/cni/net.d/10-x.conflist", "usr/lib/cni/x"),
        "usr/libexec/kubernetes/kubelet-plugins/volume/exec/x~y/y",
    ),
    Power.UNITS: (
        (f"{UNITS}/basic.target.d/x.conf", "[Unit]\nConflicts=auditd.service\n"),
        (f"{UNITS}/multi-user.target.d/x.conf", "[Unit]\nUpholds=debug-shell.service\n"),
        f"{UNITS}/multi-user.target.d/unread.conf",
        f"{UNITS}/multi-user.target.upholds/debug-shell.service",
        f"{UNITS}/ssh.service.requires/x.service",
        f"{UNITS}/ssh.service.wants/y.service",
        f"{UNITS}/sshd.service.d/x.conf",
        f"{UNITS}/service.d/x.conf",
        "usr/local/lib/systemd/system/dbus.socket.d/x.conf",
        "usr/lib/systemd/user/pipewire.service.d/x.conf",
        "usr/lib/systemd/user/default.target.wants/x.service",
        *(f"{it}/systemd/user/default.target.wants/x.service" for it in ("usr/share", "usr/local/share")),
        (f"{UNITS}/multi-user.target.d/x.conf", "[Unit]\nAfter=a.target \\\n# no end\n  b.target\nWants=getty@x\n"),
        (f"{UNITS}/multi-user.target.d/x.conf", "[Unit]\n# fine\0Wants=debug-shell.service\n"),
        (f"{UNITS}/multi-user.target.d/x.conf", "[Unit]\n# fine\rWants=debug-shell.service\n"),
        (f"{UNITS}/multi-user.target.d/x.conf", "[Unit]\nWants= \\\n#a\n debug-shell.service\n"),
    ),
    Power.MANAGER: (
        *("etc/systemd/system.conf.d/x.conf", "etc/systemd/logind.conf", "usr/lib/environment.d/x.conf"),
        *("usr/lib/repart.d/50-x.conf", "usr/lib/sysupdate.d/50-x.transfer", "etc/sysupdate.x.d/1.transfer"),
        "usr/lib/systemd/zram-generator.conf",
        *("etc/fstab", "etc/crypttab", "usr/lib/systemd/network/x.network", "etc/nftables.conf"),
        *("usr/lib/NetworkManager/system-connections/x.nmconnection", "usr/etc/fstab"),
    ),
    Power.DBUS: (
        ("usr/share/dbus-1/system-services/x.service", "[D-BUS Service]\nName=x\nExec=/x\nUser=root\n"),
        ("usr/share/dbus-1/system-services/x.service", "[D-BUS Service]\nName=x\nExec=/x\n"),
        ("usr/share/dbus-1/system-services/x.service", "[D-BUS Service]\nUser=root\n[X]\nUser=nobody\n"),
        (
            "usr/share/dbus-1/system-services/x.service",
            "[O]\n#[D-BUS Service]\nUser=nobody\n[D-BUS Service]\nName=x\n",
        ),
        (
            "usr/share/dbus-1/system-services/x.service",
            "[D-BUS Service]\nUser=nobody\nSystemdService=poweroff.target\n",
        ),
        "usr/lib/dbus-1/system-services/x.service",
        "etc/dbus-1/system.d/x.conf",
    ),
    Power.POLKIT: ("usr/share/polkit-1/rules.d/x.rules", "etc/polkit-1/rules.d/x.rules"),
    Power.LOGIN: (
        "etc/pam.d/sshd",
        "usr/lib/x86_64-linux-gnu/security/pam_x.so",
        "usr/lib/x86_64-linux-gnu/libnss_x.so.2",
        "etc/sudoers.d/x",
        "etc/shadow",
        *("etc/login.defs", "etc/sssd/sssd.conf"),
        "etc/ssh/authorized_keys.d/root",
        "usr/etc/ssh/sshd_config.d/x.conf",
        "etc/apt/sources.list.d/x.sources",
        "etc/apt/trusted.gpg.d/x.asc",
        "etc/yum.repos.d/x.repo",
        "usr/share/pki/trust/anchors/x.pem",
        "etc/selinux/config",
        "usr/share/selinux/packages/x.pp",
        "usr/local/share/ca-certificates/x.crt",
    ),
    Power.SYSUSERS: (
        ("usr/lib/sysusers.d/x.conf", "u toor 0\n"),
        ("usr/lib/sysusers.d/x.conf", '# fine\n"u!" toor "00:5" "x"\n'),
        ("usr/lib/sysusers.d/x.conf", "u x /etc/shadow\n"),
        ("usr/lib/sysusers.d/x.conf", "u x 500:disk\n"),
        ("usr/lib/sysusers.d/x.conf", "u x 1500:6\n"),
        ("usr/lib/sysusers.d/x.conf", "u x 27:27\n"),
        ("usr/lib/sysusers.d/x.conf", "g x 0\n"),
        ("usr/lib/sysusers.d/x.conf", "m nobody docker\n"),
        ("usr/lib/sysusers.d/x.conf", "# fine\0m nobody docker\n"),
        ("usr/lib/sysusers.d/x.conf", "# fine\rm nobody docker\n"),
        ("usr/lib/sysusers.d/x.conf", 'u "x\n'),
        "usr/lib/sysusers.d/unread.conf",
    ),
    Power.TMPFILES: (
        "usr/lib/tmpfiles.d/x.conf",
        "usr/share/user-tmpfiles.d/x.conf",
        "etc/tmpfiles.d/x.conf",
        "usr/share/factory/etc/x",
    ),
    Power.UDEV: (
        ("usr/lib/udev/rules.d/70-x.rules", 'ACTION=="add", RUN+="/usr/bin/x"\n'),
        ("etc/udev/rules.d/70-x.rules", 'IMPORT{program}="x"\n'),
        ("etc/udev/rules.d/70-x.rules", 'SUBSYSTEM=="block", MODE="0666"\n'),
        ("etc/udev/rules.d/70-x.rules", 'SUBSYSTEM=="block", OWNER:="1000"\n'),
        ("etc/udev/rules.d/70-x.rules", 'KERNEL=="sda", ATTR{queue/x}="1"\n'),
        ("etc/udev/rules.d/70-x.rules", 'KERNEL=="sda", TAG+="uaccess"\n'),
        ("etc/udev/rules.d/70-x.rules", 'RU\\\nN+="/usr/bin/x"\n'),
        ("etc/udev/rules.d/70-x.rules", 'RU\\\n   N+="/usr/bin/x"\n'),
        ("etc/udev/rules.d/70-x.rules", 'RU\\\n#c\nN+="/usr/bin/x"\n'),
        ("etc/udev/rules.d/70-x.rules", 'R\\\rUN+="/usr/bin/x"\n'),
        ("etc/udev/rules.d/70-x.rules", 'R\\\0UN+="/usr/bin/x"\n'),
        ("etc/udev/rules.d/70-x.rules", 'KERNEL=="sda", MODE+="0666"\n'),
        ("etc/udev/rules.d/70-x.rules", 'KERNEL=="sda", GROUP+="users"\n'),
        ("etc/udev/rules.d/70-x.rules", 'KERNEL=="sda", IMPORT{builtin}="kmod load x"\n'),
        ("etc/udev/rules.d/70-x.rules", 'KERNEL=="sda", TAG="uaccess"\n'),
        ("etc/udev/rules.d/70-x.rules", 'KERNEL=="sda", TAG+=e"uac\\x63ess"\n'),
        "usr/lib/udev/rules.d/unread.rules",
    ),
    Power.MODULES: ("usr/lib/modules/6.1/x.ko.zst", "usr/lib/firmware/x.bin", "etc/modules"),
    Power.MODPROBE: (
        ("usr/lib/modprobe.d/x.conf", "options x y=1\ninstall x /usr/bin/x\n"),
        ("usr/lib/modprobe.d/x.conf", "remove \\\n x /usr/bin/x\n"),
        ("usr/lib/modprobe.d/x.conf", "in\\stall x /usr/bin/x\n"),
        ("usr/lib/modprobe.d/x.conf", "inst\\\nall x /usr/bin/x\n"),
    ),
    Power.SYSCTL: ("usr/lib/sysctl.d/x.conf", "usr/lib/binfmt.d/x.conf"),
    Power.PRELOAD: (
        "usr/lib/python3/dist-packages/x.pth",
        "usr/local/lib/python3.11/dist-packages/sitecustomize.py",
        "etc/ld.so.preload",
        "etc/python3.11/sitecustomize.py",  # where Debian's library has a link to
        "etc/profile.d/x.sh",
        "usr/etc/profile.d/x.sh",
        "etc/bash_completion.d/x",
        *("etc/csh.login", "etc/ksh.kshrc", "etc/perl/sitecustomize.pl"),
        "usr/share/bash-completion/completions/ls",
        "usr/share/fish/vendor_functions.d/x.fish",
        *("usr/local/share/fish/vendor_conf.d/x.fish", "usr/lib/x86_64-linux-gnu/gio/modules/x.so"),
        *("usr/share/p11-kit/modules/x.module", "usr/lib64/NetworkManager/1.50/libnm-device-plugin-x.so"),
        *("usr/share/perl5/strict.pm", "usr/lib/x86_64-linux-gnu/perl5/5.36/warnings.pm", "usr/lib64/perl5/Carp.pm"),
        *("usr/lib/x86_64-linux-gnu/gconv/gconv-modules.d/x.conf", "usr/lib64/gconv/gconv-modules"),
        "usr/lib/python311.zip",
        "usr/lib/x86_64-linux-gnu/tls/libz.so.1",
        "usr/lib64/haswell/x86_64/libz.so.1",
        "usr/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v3/libc.so.6",
    ),
}
UNABLE: Final[tuple[str | tuple[str, str], ...]] = (
    "usr/bin/ipfs",
    "usr/lib/extension-release.d/extension-release.x",
    f"{UNITS}/x.service",
    "usr/share/doc/livelayer/README",
    "usr/lib/systemd/systemd-x",
    ("usr/share/dbus-1/system-services/x.service", "[D-BUS Service]\nUser=messagebus\n"),
    ("usr/lib/sysusers.d/x.conf", "u ipfs - 'IPFS' /var/lib/ipfs\nu x 500\ng y 501\nr - 600-700\nu z 5:z\n"),
    ("usr/lib/udev/rules.d/70-x.rules", 'SUBSYSTEM=="usb", ATTR{idVendor}=="1050", SYMLINK+="key"\n'),
    ("usr/lib/udev/rules.d/70-x.rules", '# RUN+="x" is for others\nIMPORT{builtin}="usb_id", TAG+="systemd"\n'),
    ("usr/lib/modprobe.d/x.conf", "blacklist installer\noptions x\n"),
    "usr/lib/modules/6.1/modules.dep",
    "usr/lib/python3/dist-packages/x/__init__.py",
    "opt/x/etc/livelayer/x.yaml",
    "usr/bin/python3",  # unless the host has one there
    "usr/local/sbin/skopeo",
    "usr/share/x/etc/fstab",
    "usr/share/perl5/Image/ExifTool.pm",
    "usr/share/perl5/X/strict.pm",
)


def _powers(given: str | tuple[str, str], *more: str) -> set[Power]:
    path, text = (given, None) if isinstance(given, str) else given
    return {it.power for it in abilities([path, *more], lambda asked: text if asked == path else None)}


@pytest.mark.parametrize(("power", "given"), [(it, given) for it, cases in ABLE.items() for given in cases])
def test_able(power: Power, given: str | tuple[str, str]) -> None:
    assert power in _powers(given)


@pytest.mark.parametrize("given", UNABLE)
def test_unable(given: str | tuple[str, str]) -> None:
    assert _powers(given) == set()


def test_drop_ins_for_its_own_units_are_its_own() -> None:
    drop_in = f"{UNITS}/x.service.d/y.conf"
    assert _powers(drop_in) == {Power.UNITS}
    assert _powers(drop_in, f"{UNITS}/x.service") == set()
    assert _powers(f"{UNITS}/x@1.service.d/y.conf", f"{UNITS}/x@.service") == set()


def test_a_nested_extension_is_judged_beside_what_lies_around_it() -> None:
    own, drop_in = f"{UNITS}/x.service", f"{UNITS}/basic.target.d/x.conf"
    nested = f"usr/lib/extensions/in/{drop_in}"
    texts = {own: "", drop_in: "[Unit]\nWants=x.service\n", nested: "[Unit]\nConflicts=auditd.service\n"}
    assert abilities([own, drop_in], texts.get) == []
    assert [(it.power, it.path) for it in abilities(texts, texts.get)] == [(Power.UNITS, drop_in)]
    assert (
        _powers(f"usr/lib/extensions/in/{UNITS}/y.service.d/y.conf", f"usr/lib/extensions/in/{UNITS}/y.service")
        == set()
    )
    assert _powers(f"{UNITS}/y.service.d/y.conf", f"usr/lib/extensions/in/{UNITS}/y.service") == {Power.UNITS}


def test_its_own_units_may_be_started_by_targets() -> None:
    own, drop_in = f"{UNITS}/x.service", f"{UNITS}/multi-user.target.d/10-x.conf"
    text = "[Unit]\nUpholds=x.service\nAfter=network.target\n"
    assert abilities([own, drop_in], lambda path: text if path == drop_in else None) == []
    assert _powers(f"{UNITS}/multi-user.target.wants/x.service", own) == set()
    assert _powers(f"{UNITS}/multi-user.target.upholds/x@1.service", f"{UNITS}/x@.service") == set()


@pytest.mark.parametrize(
    "path",
    sorted({it if isinstance(it, str) else it[0] for cases in ABLE.values() for it in cases} - {"etc/machine-id"}),
)
def test_each_directory_above_may_be_a_link(path: str) -> None:
    """Wherever a file that gives a power is found by way of a link, that is told as it would be without."""
    direct = {it.power for it in abilities([path], lambda _: None)}
    parts = path.split("/")
    for depth in range(2 if parts[0] == "usr" else 1, len(parts)):
        above, rest = "/".join(parts[:depth]), "/".join(parts[depth:])
        if above in {"etc", "usr/etc"}:
            continue
        kept = f"opt/elsewhere/{rest}"
        linked = abilities([above, kept], lambda _: None, {above: "/opt/elsewhere"})
        assert direct <= {it.power for it in linked}, above


def test_to_have_units_of_others_restarted_is_to_change_them() -> None:
    release = {
        "EXTENSION_RESTART_UNITS": "x.service dbus.service",
        "EXTENSION_RELOAD_OR_RESTART_UNITS": "y@1.service",
    }
    contents = Contents({"x": release})
    found = restarts(contents, Kind.SYSEXT, [f"{UNITS}/x.service"])
    assert [(it.power, it.words.split()[1]) for it in found] == [
        (Power.UNITS, "dbus.service"),
        (Power.UNITS, "y@1.service"),
    ]
    assert (
        restarts(contents, Kind.SYSEXT, [f"{UNITS}/{it}" for it in ("x.service", "dbus.service", "y@.service")]) == []
    )


def test_every_kind_has_a_case() -> None:
    assert {*ABLE, Power.SHADOWING} == set(Power)  # which takes a host


def test_livelayer_itself_may_come_where_it_is_meant() -> None:
    files = ["usr/bin/livelayer", "usr/lib/livelayer/python/reconciler/cli.py", f"{UNITS}/livelayer.timer"]
    found = abilities([*files, "usr/lib/livelayer/extensions.yaml"], lambda _: None)
    assert {it.path for it in found} == {*files, "usr/lib/livelayer/extensions.yaml"}
    left = ["usr/lib/livelayer/extensions.yaml"]
    assert [it.path for it in foreign(found, "livelayer", is_own=False)] == left
    assert [it.path for it in foreign(found, "tools", is_own=True)] == left
    assert foreign(found, "tools", is_own=False) == found


def test_a_refusal_says_what_it_can_do_and_which_key_allows_it() -> None:
    found = abilities(["usr/lib/tmpfiles.d/a.conf", "usr/lib/tmpfiles.d/b.conf"], lambda _: None)
    assert refusal(found, frozenset({Power.UDEV})) is None
    error = refusal(found, frozenset({Power.TMPFILES}))
    assert error
    assert error.code == "limit.power"
    assert "anywhere, as root: /usr/lib/tmpfiles.d/a.conf and 1 more; this node does not allow that" in error.message
    assert error.hint
    assert "settings.limits.tmpfiles: true" in error.hint


# What is found where, over links of directories: the links, the files, and a path with the power that is told of it.
LINKED: Final[dict[str, tuple[dict[str, str], list[str], str, Power]]] = {
    "to a directory beside it": (
        {"usr/local/lib/systemd": "../../share/evil"},
        ["usr/share/evil/system-generators/x"],
        "usr/local/lib/systemd/system-generators/x",
        Power.GENERATORS,
    ),
    "absolute": (
        {"usr/lib/udev/rules.d": "/usr/share/x"},
        ["usr/share/x/70-x.rules"],
        "usr/lib/udev/rules.d/70-x.rules",
        Power.UDEV,
    ),
    "to a link": (
        {"usr/lib/livelayer": "../share/a", "usr/share/a": "b"},
        ["usr/share/b/extensions.d/zz.yaml"],
        "usr/lib/livelayer/extensions.d/zz.yaml",
        Power.LIVELAYER,
    ),
    "far above": (
        {"usr/local/lib": "../share/evil"},
        ["usr/share/evil/systemd/system/sshd.service.d/x.conf"],
        "usr/local/lib/systemd/system/sshd.service.d/x.conf",
        Power.UNITS,
    ),
    "by way of a link in what it leads to": (
        {"usr/local/lib": "../share/evil", "usr/share/evil/systemd": "../deep"},
        ["usr/share/deep/system-sleep/x"],
        "usr/local/lib/systemd/system-sleep/x",
        Power.GENERATORS,
    ),
    "through the root's links into /usr": (
        {"usr/local/lib/systemd": "/lib/evil"},
        ["usr/lib/evil/system-generators/x"],
        "usr/local/lib/systemd/system-generators/x",
        Power.GENERATORS,
    ),
    "a file": (
        {"usr/lib/systemd/system-generators/x": "../../../share/x"},
        ["usr/share/x"],
        "usr/lib/systemd/system-generators/x",
        Power.GENERATORS,
    ),
    "out of the extension": (
        {"usr/local/lib/systemd": "/var/lib/extensions/x/usr/share/evil"},
        ["usr/share/evil/system-generators/x"],
        "usr/local/lib/systemd",
        Power.GENERATORS,
    ),
    "out of it, with a dot": ({"usr/lib/python3.11": "/run/x"}, [], "usr/lib/python3.11", Power.PRELOAD),
    "to what another extension may bring": (
        {"usr/lib/systemd/system-generators": "/etc/x"},
        [],
        "usr/lib/systemd/system-generators",
        Power.GENERATORS,
    ),
    "to an extension that nobody knows": (
        {"usr/lib/confexts/evil": "/run/x"},
        [],
        "usr/lib/confexts/evil",
        Power.LIVELAYER,
    ),
    "to versions of one": ({"usr/lib/confexts/evil.v": "/run/x"}, [], "usr/lib/confexts/evil.v", Power.LIVELAYER),
    "to one version": ({"usr/lib/confexts/a.v/a_1": "/run/x"}, [], "usr/lib/confexts/a.v/a_1", Power.LIVELAYER),
    "to versions in it": (
        {"usr/lib/confexts/evil.v": "../../share/q"},
        ["usr/share/q/evil_1/etc/livelayer/extensions.yaml"],
        "etc/livelayer/extensions.yaml",
        Power.LIVELAYER,
    ),
    "to where extensions lie": ({"usr/lib/extensions": "/run/x"}, [], "usr/lib/extensions", Power.LIVELAYER),
    "in a circle": (
        {"usr/lib/systemd": "../share/a", "usr/share/a": "../lib/systemd"},
        [],
        "usr/lib/systemd",
        Power.GENERATORS,
    ),
}


@pytest.mark.parametrize("name", LINKED)
def test_links_of_directories_hide_nothing(name: str) -> None:
    links, files, path, power = LINKED[name]
    assert (path, power) in {(it.path, it.power) for it in abilities([*files, *links], lambda _: None, links)}


def test_the_file_that_a_link_leads_to_is_looked_into() -> None:
    links = {"usr/lib/udev/rules.d": "../../share/x", "usr/lib/modprobe.d/x.conf": "../../share/y"}
    texts = {"usr/share/x/70-x.rules": 'SUBSYSTEM=="usb", SYMLINK+="x"\n', "usr/share/y": "options x\n"}
    assert abilities([*texts, *links], texts.get, links) == []


def test_links_that_are_nobodys_way_tell_nothing() -> None:
    links = {
        "usr/lib/x/current": "1.0",
        "usr/lib64": "lib",
        "usr/share/doc/y": "../x",
        "usr/lib/x/conf": "/etc/x",
        "usr/lib/x/self": ".",
        "usr/bin/y": "x",
        "usr/lib/systemd/system/a.service": "x.service",
    }
    files = ["usr/lib/x/1.0/file", "usr/bin/x", "usr/lib/systemd/system/x.service"]
    assert abilities([*files, *links], lambda _: None, links) == []


def test_a_maze_of_links_is_refused_in_time() -> None:
    ways = "abcdefghijklmnop"
    links = {f"usr/lib/firmware/{a}/{b}": f"../{b}" for a in ways for b in ways if a != b}
    with pytest.raises(Invalid, match="maze"):
        abilities([*links, *(f"usr/lib/firmware/{it}/file" for it in ways)], lambda _: None, links)


def test_any_number_of_links_is_fine_where_nobody_looks() -> None:
    """As package managers of JavaScript make them: packages have links to what they need, and so have these."""
    ways = [f"p{number}" for number in range(60)]
    links = {f"usr/lib/app/{a}/node_modules/{b}": f"../../{b}" for a in ways for b in ways if a != b}
    assert abilities([*links, *(f"usr/lib/app/{it}/file" for it in ways)], lambda _: None, links) == []
