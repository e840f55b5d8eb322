"""What systemd-sysext does when a refresh goes wrong, by version, and what livelayer makes of it.

Its exit status says little: 0 where nothing has changed or everything is gone, 1 where all is as it was. Each row is
brought about on each version by what somebody else has done to the node; livelayer's own images are looked at before.
"""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from tests.rig.diskimages import extension_tree, squashfs
from tests.rig.images import command, write_image
from tests.rig.releases import RELEASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.rig.node import Node
    from tests.rig.releases import Release

pytestmark = [pytest.mark.system, pytest.mark.commands, pytest.mark.releases(*RELEASES)]

DIRECTORY: Final = "/var/lib/extensions"
DROP_IN: Final = "/etc/systemd/system/systemd-sysext.service.d/test.conf"
OLD: Final = ["keep", "tool"]  # what livelayer has merged before anything goes wrong


class Lab:
    """A node with `keep` and `tool` v1 merged by livelayer; v2 is at hand."""

    def __init__(self, node: Node, scratch: Path) -> None:
        self.node = node
        self.scratch = scratch
        layout = node.path("/srv/images")
        if not layout.exists():
            layout.mkdir()
            for tag in ("v1", "v2"):
                write_image(layout, f"tool-{tag}", command("tool", tag))
            write_image(layout, "keep", command("keep", "keep"))

    def settle(self) -> None:
        """Whatever a test did: v1 is in force, and nothing else is there."""
        self.node.path(DROP_IN).unlink(missing_ok=True)
        # A layer must not be removed while it is merged: its directories could not be listed any more.
        self.shell("systemctl daemon-reload; systemctl stop systemd-sysext; systemd-sysext unmerge")
        for path in self.node.path(DIRECTORY).glob("*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif not path.is_symlink():
                path.unlink()
        self.want("v1")
        self.apply()
        assert self.merged() == OLD
        assert self.says("tool") == "v1"

    def want(self, tag: str, more: str = "") -> None:
        listed = {"keep": "oci:/srv/images:keep", "tool": f"oci:/srv/images:tool-{tag}"}
        lines = "".join(f"  {name}: {{source: '{source}'}}\n" for name, source in listed.items())
        self.node.write("/etc/livelayer/extensions.yaml", f"extensions:\n{lines}{more}")

    def apply(self, *prefix: str, status: int = 0) -> str:
        return self.node.run(*prefix, "livelayer", "apply", status=status).stderr

    def merged(self) -> list[str]:
        listed = json.loads(self.node.run("systemd-sysext", "status", "--json=short").stdout)
        names = [row["extensions"] for row in listed if isinstance(row["extensions"], list)]
        return sorted({name for row in names for name in row})

    def says(self, name: str) -> str:
        return self.node.run(f"/usr/bin/{name}", status=None).stdout.strip()

    def place(self, name: str, files: Mapping[str, str | None] | None = None) -> None:
        extension_tree(self.node.path(f"{DIRECTORY}/{name}"), name, files)

    def place_image(self, content: bytes) -> None:
        self.node.path(f"{DIRECTORY}/bad.raw").write_bytes(content)

    def drop_in(self, text: str) -> None:
        self.node.write(DROP_IN, f"[Service]\n{text}\n")
        self.node.run("systemctl", "daemon-reload")

    def shell(self, script: str) -> None:
        self.node.run("sh", "-ec", script)


def _nothing(_: Lab) -> None:
    """There is nothing to undo."""


@dataclass(frozen=True)
class Row:
    """A row of the table."""

    cause: Callable[[Lab], None]
    undo: Callable[[Lab], None] = _nothing  # beyond removing what lies in the search directory
    status: Mapping[int, int] = field(default_factory=lambda: _always(0))  # of systemd-sysext, by its version
    shown: str = "all"  # what is merged then: all, old, none
    verb: str = "refresh"
    prefix: tuple[str, ...] = ()
    culprit: str | None = None  # what livelayer names; None: it converges


def _always(status: int) -> dict[int, int]:
    return {release.systemd: status for release in RELEASES}


def _wrong_release_files(lab: Lab) -> None:
    extension_tree(lab.node.path(f"{DIRECTORY}/bad"), "other")
    lab.node.path(f"{DIRECTORY}/bare/usr").mkdir(parents=True)


def _image_for_another(lab: Lab) -> None:
    extension_tree(lab.scratch / "tree", "other")
    lab.place_image(squashfs(lab.scratch / "tree", lab.scratch / "image").read_bytes())


def _stack_too_deep(lab: Lab) -> None:
    """An overlay on an overlay: the kernel stacks two, and systemd's would be the third."""
    for name in ("a", "b", "c"):
        extension_tree(lab.node.path(f"/srv/deep/{name}"), "bad")
    lab.shell(
        f"mkdir -p /srv/deep/first {DIRECTORY}/bad;"
        "mount -t overlay overlay -o lowerdir=/srv/deep/a:/srv/deep/b /srv/deep/first;"
        f"mount -t overlay overlay -o lowerdir=/srv/deep/first:/srv/deep/c {DIRECTORY}/bad"
    )


def _unstack(lab: Lab) -> None:
    lab.shell(f"umount {DIRECTORY}/bad /srv/deep/first; rm -r /srv/deep")


def _too_many(lab: Lab) -> None:
    for number in range(95):
        lab.place(f"ext{number:04}")


def _merge_by_hand(lab: Lab) -> None:
    lab.shell("systemctl stop systemd-sysext; systemd-sysext merge")


BAD: Final = "usr/lib/extension-release.d/extension-release.bad"
ROWS: Final = {
    "incompatible": Row(lambda lab: lab.place("bad", {BAD: "ID=fedora\n"})),
    "no release file or another's": Row(_wrong_release_files),
    "image with another's release file": Row(
        _image_for_another, status=_always(1), shown="old", culprit=f"{DIRECTORY}/bad.raw"
    ),
    "corrupt image": Row(
        lambda lab: lab.place_image(b"no image" * 1000),
        status=_always(1),
        shown="old",
        culprit=f"{DIRECTORY}/bad.raw",
    ),
    "empty image": Row(
        lambda lab: lab.place_image(b""), status=_always(1), shown="old", culprit=f"{DIRECTORY}/bad.raw"
    ),
    "os-release": Row(
        lambda lab: lab.place("bad", {"usr/lib/os-release": "ID=evil\n"}),
        status={252: 0, 257: 1, 262: 1},
        shown="old",
        culprit=f"{DIRECTORY}/bad",
    ),
    "overlay does not mount": Row(
        _stack_too_deep, _unstack, status={252: 0, 257: 1, 262: 1}, shown="none", culprit=f"{DIRECTORY}/bad"
    ),
    "too many": Row(_too_many, status={252: 0, 257: 1, 262: 1}, shown="none", culprit=f"{DIRECTORY}/ext0000"),
    "merged already": Row(_merge_by_hand, status=_always(1), shown="old", verb="merge"),
    "private mounts of a process": Row(
        lambda lab: lab.shell("systemctl mask --runtime systemd-sysext.service"),
        lambda lab: lab.shell("systemctl unmask --runtime systemd-sysext.service"),
        shown="old",
        prefix=("unshare", "--mount", "--propagation=private"),
        culprit="this process has a mount namespace of its own",
    ),
    "private mounts of the unit": Row(
        lambda lab: lab.drop_in("PrivateMounts=yes"), culprit="a mount namespace of its own", shown="all"
    ),
    "private mounts of the node": Row(
        lambda lab: lab.shell("mount --make-rprivate /"),
        lambda lab: lab.shell("mount --make-rshared /"),
        shown="old",
        culprit="the mount / is private",
    ),
}


@pytest.fixture
def lab(shared_node: Node, tmp_path: Path) -> Iterator[Lab]:
    """The node as each test wants to find it."""
    lab = Lab(shared_node, tmp_path)
    lab.settle()
    yield lab
    assert shared_node.run("find", "/run/extensions", "-mindepth", "1", status=None).stdout == ""


@pytest.fixture
def row(request: pytest.FixtureRequest, lab: Lab) -> Iterator[Row]:
    """A row that has come true."""
    row: Row = ROWS[request.param]
    row.cause(lab)
    yield row
    row.undo(lab)


all_rows = pytest.mark.parametrize("row", ROWS, indirect=True)


@pytest.mark.by_lot(1, of_releases=True)
@pytest.mark.releases_differ
@pytest.mark.parametrize("row", ROWS, indirect=True)
def test_a_row_of_the_table(lab: Lab, row: Row, release: Release) -> None:
    """First what livelayer makes of it, then what systemd-sysext does by itself."""
    lab.want("v2")
    told = lab.apply(*row.prefix, status=1 if row.culprit else 0)
    assert lab.merged() == OLD
    assert (lab.says("keep"), lab.says("tool")) == ("keep", "v1" if row.culprit else "v2")
    if row.culprit:
        assert row.culprit in told
        assert "the overlay is not as it was before" not in told
    assert told.endswith("not in sync\n" if row.culprit else "in sync\n")

    lab.place("new")
    lab.node.run(*row.prefix, "systemd-sysext", row.verb, status=row.status[release.systemd])
    merged = lab.merged()
    shown = {"all": "keep" in merged and "new" in merged, "old": merged == OLD, "none": merged == []}
    assert [name for name, is_so in shown.items() if is_so] == [row.shown]
    assert lab.says("new") == ("new" if row.shown == "all" else "")
    assert not {"bad", "bare"} & set(merged)


@pytest.mark.releases_differ
def test_a_mount_below_usr_is_kept_by_newer_versions_only(lab: Lab, release: Release) -> None:
    """Mounted before a merge, as local file systems are; hidden or not, it is there again without the overlay."""
    below = "/usr/share/below"
    lab.shell(f"systemctl stop systemd-sysext; mkdir {below}; mount -t tmpfs tmpfs {below}; touch {below}/file")
    lab.want("v2")
    lab.apply()
    assert (lab.merged(), lab.says("tool")) == (OLD, "v2")
    seen = lab.node.run("test", "-e", f"{below}/file", status=None).returncode == 0
    lab.shell(f"systemctl stop systemd-sysext; test -e {below}/file; umount {below}; rmdir {below}")
    assert seen == (release.systemd >= 257)


def test_the_culprit_is_found_among_others_and_once_it_is_gone_the_node_converges(lab: Lab) -> None:
    """What came since and is good is not blamed; nor is it merged before the culprit is gone."""
    lab.place("fine")
    lab.place("other", {"usr/lib/extension-release.d/extension-release.other": "ID=fedora\n"})
    _stack_too_deep(lab)
    lab.want("v2")
    told = lab.apply(status=1)
    _unstack(lab)
    lab.node.path(f"{DIRECTORY}/bad").rmdir()
    assert f"nothing merges beside {DIRECTORY}/bad\n" in told
    assert (lab.merged(), lab.says("tool")) == (OLD, "v1")
    lab.apply()
    assert (lab.merged(), lab.says("tool")) == (["fine", *OLD], "v2")


def test_automatic_runs_leave_alone_what_failed_until_it_is_due_or_something_changes(lab: Lab) -> None:
    """Each attempt takes the overlay away, if only for a moment."""
    _stack_too_deep(lab)
    lab.want("v2")

    def merged_at() -> str:
        return lab.node.run("stat", "--format=%.9Y", "/usr/.systemd-sysext/extensions").stdout

    first = lab.node.run("livelayer", "apply", "--automatic", status=1).stderr
    before = merged_at()
    second = lab.node.run("livelayer", "apply", "--automatic", status=1).stderr
    assert merged_at() == before
    assert "plan:" not in second
    for told in (first, second):
        assert "tool: after a refresh" in told
    status = json.loads(lab.node.run("livelayer", "status", "--json").stdout)
    (tool,) = (it for it in status["extensions"] if it["name"] == "tool")
    assert (tool["state"], tool["code"], tool["retry_at"] is None) == ("failed", "overlay.mismatch", False)
    assert status["retry_at"] == tool["retry_at"]

    lab.apply(status=1)  # by hand
    assert merged_at() != before
    before = merged_at()
    lab.place("fine")
    lab.node.run("livelayer", "apply", "--automatic", status=1)
    assert merged_at() != before
    _unstack(lab)
    lab.node.path(f"{DIRECTORY}/bad").rmdir()
    lab.node.run("livelayer", "apply", "--automatic")
    assert lab.says("tool") == "v2"
    lab.node.run("test", "-e", "/run/livelayer/state/failed-refreshes.json", status=1)


@pytest.mark.releases_differ
def test_an_extension_within_a_hierarchy_is_seen_before_it_does_harm(lab: Lab, release: Release) -> None:
    """No layer of an overlay may be part of another one; where systemd does not look, nothing is wrong."""
    place = "/usr/local/lib/extensions/inside"
    lab.shell("systemctl stop systemd-sysext")
    tree = lab.scratch / "inside"
    extension_tree(tree, "inside")
    shutil.copytree(tree, lab.node.path(place))
    lab.want("v2")
    harmful = release.systemd < 254
    told = lab.apply(status=1 if harmful else 0)
    assert (f"{place}: it lies in /usr, onto which it would be merged" in told) is harmful
    lab.shell("systemctl stop systemd-sysext")
    shutil.rmtree(lab.node.path("/usr/local/lib/extensions"))
    lab.apply()
    assert lab.says("tool") == "v2"

    shutil.copytree(tree, lab.node.path("/srv/inside"))
    lab.node.path("/srv/inside").rename(lab.node.path("/opt/inside"))
    lab.node.path("/opt/inside/opt").mkdir()
    lab.node.path(f"{DIRECTORY}/inside").symlink_to("/opt/inside")
    lab.want("v1")
    told = lab.apply(status=1)
    assert f"{DIRECTORY}/inside: it lies in /opt, onto which it would be merged" in told
    assert (lab.merged(), lab.says("tool")) == (OLD, "v2")
    lab.node.path(f"{DIRECTORY}/inside").unlink()
    shutil.rmtree(lab.node.path("/opt/inside"))


def test_a_first_refresh_that_fails_is_followed_by_a_second(lab: Lab) -> None:
    lab.shell("systemctl stop systemd-sysext")
    lab.drop_in("ExecStartPre=sh -c 'test -e /run/failed-once || { touch /run/failed-once; exit 1; }'")
    lab.want("v2")
    told = lab.apply()
    lab.shell("rm /run/failed-once")
    assert "trying once more" in told
    assert (lab.merged(), lab.says("tool")) == (OLD, "v2")


def test_no_refresh_while_another_run_holds_the_lock(lab: Lab) -> None:
    """The first run is held in the middle of its refresh; the second one says so, and does not touch the node."""
    lab.shell("systemctl stop systemd-sysext; mkfifo /run/begun /run/go")
    lab.drop_in("ExecStartPre=sh -c 'echo > /run/begun; cat /run/go'")
    lab.want("v2")
    told: list[str] = []
    first = threading.Thread(target=lambda: told.append(lab.apply()))
    first.start()
    lab.shell("cat /run/begun")
    refused = lab.node.run("livelayer", "apply", "--wait", "0", status=1).stderr
    assert (lab.merged(), lab.says("tool")) == ([], "")
    lab.shell("echo > /run/go")
    first.join()
    lab.shell("rm /run/begun /run/go")
    assert "livelayer apply (PID " in refused
    assert "is at work on this node" in refused
    assert "plan:" not in refused
    assert "done: refresh" in told[0]
    assert (lab.merged(), lab.says("tool")) == (OLD, "v2")
