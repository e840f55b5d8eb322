"""The kernel's mounts as text: recorded from systemd 252, 257 and 262."""

from __future__ import annotations

from reconciler.host.merge.overlay import merged_hierarchies, private_mount
from reconciler.model.kind import Kind

MOUNTINFO = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/root rw
61 22 0:52 / /usr ro,relatime shared:2 - overlay sysext ro,lowerdir=/run/systemd/sysext/meta/usr:/a/usr:/usr
62 22 0:53 / /opt ro,nodev,relatime shared:3 - overlay sysext ro,lowerdir=/run/systemd/sysext/meta/opt:/a/opt:/opt
63 22 0:54 / /srv/a\\040b ro,relatime - overlay sysext ro,lowerdir=/x
64 22 0:55 / /etc ro,relatime shared:4 - overlay confext ro,lowerdir=/x
65 22 0:56 / /merged rw,relatime shared:5 - overlay overlay rw,lowerdir=/sysext
66 22 0:57 / /sysext rw,relatime shared:6 - tmpfs sysext rw
"""


def test_only_the_overlays_of_systemd_count_by_kind() -> None:
    assert merged_hierarchies(MOUNTINFO, Kind.SYSEXT) == ["/usr", "/opt", "/srv/a b"]
    assert merged_hierarchies(MOUNTINFO, Kind.CONFEXT) == ["/etc"]
    assert merged_hierarchies("", Kind.SYSEXT) == []


def test_a_mount_that_is_not_shared_keeps_a_merge_to_itself() -> None:
    """The one below systemd's own overlay counts, and of several at one place the last."""
    assert private_mount(MOUNTINFO, Kind.SYSEXT) is None
    private = MOUNTINFO.replace(" shared:1 ", " ")
    assert private_mount(private, Kind.SYSEXT) == "/"
    assert private_mount(private, Kind.CONFEXT) == "/"
    assert private_mount(private.replace("rw,relatime - ext4", "rw,relatime master:1 - ext4"), Kind.SYSEXT) == "/"
    own = "30 22 0:60 / /usr ro,relatime{} - erofs /dev/dm-0 ro\n"
    assert private_mount(private + own.format(" shared:9"), Kind.SYSEXT) is None
    assert private_mount(MOUNTINFO + own.format(""), Kind.SYSEXT) == "/usr"
    assert private_mount(MOUNTINFO + own.format("") + own.format(" shared:9"), Kind.SYSEXT) is None
    assert private_mount(MOUNTINFO + own.format(""), Kind.CONFEXT) is None
    assert private_mount("", Kind.SYSEXT) is None
