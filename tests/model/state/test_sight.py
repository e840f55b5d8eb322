"""What of an extension is seen, by what is merged where."""

from __future__ import annotations

import pytest

from reconciler.model.kind import Kind
from reconciler.model.state.sight import Hierarchy, Sight, Unseen

USUAL = {"/usr": "/usr", "/opt": "/opt"}
FEDORAS = {"/usr/sbin": "/usr/bin", "/usr/bin": "/usr/bin"}


@pytest.mark.parametrize(
    ("merged", "places", "unseen"),
    [
        ([Hierarchy("/usr"), Hierarchy("/opt")], USUAL, []),
        ([Hierarchy("/usr")], USUAL, ["/opt/x"]),
        ([Hierarchy("/usr"), Hierarchy("/var/opt")], {"/usr": "/usr", "/opt": "/var/opt"}, []),
        ([Hierarchy("/usr"), Hierarchy("/var/opt", ("/var/opt/x",))], {"/opt": "/var/opt"}, ["/opt/x"]),
        ([Hierarchy("/usr", ("/usr/local",)), Hierarchy("/opt")], USUAL, ["/usr/local/bin/x"]),
        ([Hierarchy("/usr", ("/usr/local/share",)), Hierarchy("/opt")], USUAL, []),
        ([Hierarchy("/usr", covered=("/usr/local",)), Hierarchy("/opt")], USUAL, []),
        ([Hierarchy("/usr/bin"), Hierarchy("/opt")], FEDORAS, ["/usr/local/bin/x"]),
        ([Hierarchy("/usr/bin")], USUAL, ["/opt/x", "/usr/local/bin/x", "/usr/sbin/x"]),
    ],
)
def test_what_is_seen(merged: list[Hierarchy], places: dict[str, str], unseen: list[str]) -> None:
    sight = Sight.of(merged, places)
    files = ["usr/bin/x", "usr/sbin/x", "usr/local/bin/x", "opt/x", "usr/lib/extension-release.d/extension-release.x"]
    assert list(sight.unseen(files, Kind.SYSEXT)) == unseen
    for directory in ("/usr", "/usr/bin", "/usr/local", "/opt"):
        inside = [path for path in files if f"/{path}".startswith(f"{directory}/")]
        if sight.shows_all_below(directory):
            assert sight.unseen(inside, Kind.SYSEXT) == ()


def test_the_reason_names_the_mount_or_what_is_merged() -> None:
    sight = Sight.of([Hierarchy("/usr", ("/usr/local",))], USUAL)
    covered, outside = (Unseen.among([path], sight) for path in ("/usr/local/x", "/opt/x"))
    assert covered
    assert outside
    assert [it.error(Kind.SYSEXT).code for it in (covered, outside)] == ["overlay.covered", "overlay.outside"]
    assert covered.error(Kind.SYSEXT).message.endswith("the mount /usr/local lies on top of what is merged")
    assert outside.error(Kind.SYSEXT).message == "/opt/x is not seen: extensions are merged onto /usr only"
    assert Unseen.among([], sight) is None
