"""What comes with a merged extension neither configures livelayer nor is run by it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Final

import pytest

from tests.rig.diskimages import extension_tree
from tests.rig.images import command, extension, write_image
from tests.rig.openpgp import KeyOwner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.rig.images import Member
    from tests.rig.node import Node
    from tests.system.bench import Bench

pytestmark = [pytest.mark.system, pytest.mark.commands]

_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SEIZED: Final = "#!/bin/sh\ntouch /run/seized\nexit 1\n"
_SETTINGS: Final = "settings: {allow_empty: true, prune: false}\nextensions: {more: {source: 'docker://evil/more'}}\n"


def _by_hand(bench: Bench, name: str, members: Sequence[Member]) -> Path:
    """As somebody might have placed it before livelayer came, or past it."""
    place = bench.namespace.path("/var/lib/extensions") / name
    for member in members:
        path = place / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(member.content)
        path.chmod(member.mode)
    bench.namespace.run("systemd-sysext", "refresh")
    return place


def _found(bench: Bench, *programs: str) -> dict[str, str | None]:
    """What livelayer would run."""
    script = (
        "import json, sys; from reconciler.host.base import command;"
        "print(json.dumps({it: next(command._found(it, sys.argv[1]), None) for it in sys.argv[2:]}))"
    )
    told = bench.namespace.run(sys.executable, "-c", script, _PATH, *programs)
    found: dict[str, str | None] = json.loads(told.stdout)
    return found


def _extension(name: str, files: Mapping[str, str]) -> tuple[Member, ...]:
    return extension(name, files)


def test_a_link_that_leads_out_of_an_extension_has_no_say(bench: Bench) -> None:
    place = _by_hand(bench, "evil", _extension("evil", {"usr/share/evil/only-there": _SEIZED}))
    (place / "usr/share/evil/only-there").chmod(0o755)
    (place / "usr/local").mkdir()
    (place / "usr/local/sbin").symlink_to("/var/lib/extensions/evil/usr/share/evil")
    bench.namespace.run("systemd-sysext", "refresh")
    assert bench.namespace.run("cat", "/usr/local/sbin/only-there").stdout == _SEIZED
    assert _found(bench, "only-there") == {"only-there": None}


def test_an_extension_that_was_there_before_livelayer_has_no_say(bench: Bench) -> None:
    vendor = "usr/lib/livelayer"
    programs = {f"usr/local/sbin/{it}": _SEIZED for it in ("systemd-sysext", "gpgv", "only-there")}
    settings = {f"{vendor}/extensions.d/zz.yaml": _SETTINGS, f"{vendor}/extensions.yaml": _SETTINGS}
    _by_hand(bench, "evil", _extension("evil", {**programs, **settings, "usr/bin/systemd-dissect": _SEIZED}))
    assert bench.namespace.run("ls", f"/{vendor}/extensions.d").stdout == "zz.yaml\n"
    found = _found(bench, "systemd-sysext", "gpgv", "only-there", "systemd-dissect")
    assert found["systemd-sysext"] == "/usr/bin/systemd-sysext"
    assert found["gpgv"] == "/usr/bin/gpgv"
    assert (found["only-there"], found["systemd-dissect"]) == (None, None)
    script = "from reconciler.host.base.command import run; run('only-there', timeout=9)"
    told = bench.namespace.run("env", f"PATH={_PATH}", sys.executable, "-c", script, status=1).stderr
    assert "comes with an extension, and livelayer runs none of those" in told

    source = bench.push("v1", command("one", "one"))
    bench.want(one=source)
    assert "more" not in bench.livelayer("apply", PATH=_PATH).stderr
    assert bench.says("one") == "one"
    assert bench.livelayer("plan", PATH=_PATH).stdout == "in sync\n"
    bench.livelayer("apply", "--if-changed", PATH=_PATH)
    bench.namespace.path("/etc/livelayer/extensions.yaml").unlink()
    told = json.loads(bench.livelayer("plan", "--json", PATH=_PATH).stdout)  # no configuration is left: nothing goes
    assert told["actions"] == []
    bench.namespace.run("test", "!", "-e", "/run/seized")


def test_a_configuration_extension_has_no_say_either(bench: Bench, tmp_path: Path) -> None:
    """By hand, since it takes systemd 254 to merge one."""
    (tmp_path / "etc/livelayer/extensions.d").mkdir(parents=True)
    (tmp_path / "etc/livelayer/extensions.d/zz.yaml").write_text(_SETTINGS)
    (tmp_path / "etc/livelayer/extensions.yaml").write_text(_SETTINGS)
    bench.want(one=bench.push("v1", command("one", "one")))
    bench.livelayer("apply")
    bench.namespace.run("mount", "-t", "overlay", "confext", "-o", f"lowerdir={tmp_path}/etc:/etc", "/etc")
    assert "more" in bench.namespace.run("cat", "/etc/livelayer/extensions.yaml").stdout
    assert bench.livelayer("plan").stdout == "in sync\n"
    bench.namespace.run("umount", "--lazy", "/etc")


def test_keys_of_an_extension_sign_nothing(bench: Bench, tmp_path: Path) -> None:
    with KeyOwner("stranger") as stranger:
        key = stranger.export(tmp_path / "keys", "--armor").read_text()
    _by_hand(bench, "keys", _extension("keys", {"usr/lib/systemd/import-pubring.pgp": key}))
    bench.namespace.run("test", "-s", "/usr/lib/systemd/import-pubring.pgp")
    script = (
        "import pathlib; from reconciler.host.sources.sha256sums import read_signed;"
        "read_signed('https://localhost:1/x.raw', [pathlib.Path('/usr/lib/systemd/import-pubring.pgp')], None)"
    )
    told = bench.namespace.run(sys.executable, "-c", script, status=1).stderr
    assert "there is no keyring to check it with" in told


def test_the_units_run_nothing_of_an_extension(node: Node) -> None:
    """Where systemd looks for programs itself, /usr/local comes first."""
    names = ("systemctl", "sh", "kill", "skopeo", "python3", "systemd-sysext", "mount")
    files = {f"usr/local/{place}/{it}": _SEIZED for place in ("bin", "sbin") for it in names}
    extension_tree(node.path("/var/lib/extensions/evil"), "evil", files)
    for program in node.path("/var/lib/extensions/evil/usr/local").glob("*/*"):
        program.chmod(0o755)
    write_image(node.path("/srv/images"), "v1", command("good", "good"))
    node.write("/etc/livelayer/extensions.yaml", "extensions: {good: {source: 'oci:/srv/images:v1'}}\n")
    node.run("/usr/bin/systemd-sysext", "refresh")
    try:
        _let_units_run(node)
    finally:  # whoever ends the node would find these programs, too
        node.run("/usr/bin/systemd-sysext", "unmerge")


def _let_units_run(node: Node) -> None:
    systemctl = "/usr/bin/systemctl"
    assert node.run("/usr/bin/cat", "/usr/local/sbin/systemctl").stdout == _SEIZED
    node.run(systemctl, "start", "livelayer.service")
    node.run(systemctl, "start", "livelayer-watch.service")
    node.run(systemctl, "reload", "livelayer-watch.service")
    node.run(systemctl, "stop", "livelayer-watch.service")
    assert node.run("/usr/bin/good").stdout == "good\n"
    node.run("/usr/bin/test", "-e", "/run/seized", status=1)
