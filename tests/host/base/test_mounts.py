"""What lies where, by texts of the kernel as systemd 252, 257 and 262 leave them."""

from __future__ import annotations

from reconciler.host.base.mounts import hierarchies, hosts_mounts, leftovers, nested, parse_mounts
from reconciler.model.kind import Kind
from reconciler.model.state.sight import Hierarchy
from tests.host.merge.test_overlay import MOUNTINFO


def _found(mountinfo: str, kind: Kind) -> tuple[Hierarchy, ...]:
    return hierarchies(parse_mounts(mountinfo), kind)


def test_mounts_below_a_hierarchy_lie_on_top_of_it_or_are_hidden_by_it() -> None:
    """As systemd 257 and 252 leave them: the parent tells."""
    below = "71 {} 0:60 / /usr/local rw shared:9 - ext4 /dev/sdb rw\n72 71 0:61 / /usr/local/a rw - tmpfs tmpfs rw\n"
    usr, *others = _found(MOUNTINFO + below.format(61), Kind.SYSEXT)
    assert usr == Hierarchy("/usr", kept=("/usr/local",))
    assert {(it.kept, it.covered) for it in others} == {((), ())}
    usr, *others = _found(MOUNTINFO + below.format(22), Kind.SYSEXT)
    assert usr == Hierarchy("/usr", covered=("/usr/local", "/usr/local/a"))
    assert _found(MOUNTINFO + below.format(61), Kind.CONFEXT) == (Hierarchy("/etc"),)


LEFT = """\
436 22 0:100 / /usr ro,nodev,relatime shared:203 - overlay sysext ro,lowerdir=/x
443 22 0:108 /overlay/opt /opt rw,relatime shared:205 - tmpfs sysext rw,mode=700
444 443 0:98 / /opt/a rw,relatime shared:202 - tmpfs t1 rw
445 444 0:99 / /opt/a/b rw,relatime shared:206 - ext4 /dev/sdb rw
446 22 0:101 / /run/systemd/sysext rw,relatime shared:7 - tmpfs sysext rw,mode=700
"""


def test_a_directory_of_systemds_workplace_over_a_hierarchy_is_left_over() -> None:
    mounts = parse_mounts(LEFT)
    assert [it.point for it in leftovers(mounts, Kind.SYSEXT)] == ["/opt"]
    assert leftovers(mounts, Kind.CONFEXT) == []
    assert hosts_mounts(mounts, "/opt") == ("/opt/a", "/opt/a/b")
    assert hosts_mounts(mounts, "/usr") == ()


def test_mounts_in_mounts() -> None:
    assert nested(("/opt/a", "/opt/b", "/opt/ab")) is None
    assert nested(("/opt/a", "/opt/a/b")) == ("/opt/a/b", "/opt/a")


MUTABLE = """\
976 566 0:169 / /usr rw,nodev,noatime shared:236 - overlay sysext rw,lowerdir=/x,upperdir=/y
977 976 0:169 /.systemd-sysext /usr/.systemd-sysext ro,nodev,noatime shared:237 - overlay sysext rw,lowerdir=/x
"""


def test_a_mutable_overlay_is_one_hierarchy() -> None:
    assert hierarchies(parse_mounts(MUTABLE), Kind.SYSEXT) == (Hierarchy("/usr"),)
