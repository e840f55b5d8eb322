"""The record of refreshes that failed, and what makes one worth another try."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from reconciler.host.merge.links import place, read_links
from reconciler.host.records.refreshes import cause_of, read_failed_refreshes, write_failed_refreshes
from reconciler.model.fit.release import Host
from reconciler.model.kind import ExtensionId, Kind
from reconciler.model.state.entry import Entry
from reconciler.model.state.failedrefresh import FailedRefresh
from reconciler.model.state.observed import ObservedState
from reconciler.model.state.retry import Retry

if TYPE_CHECKING:
    from reconciler.paths import Paths

FAILED = FailedRefresh("digest", ("tool",), Retry(2, 1000.5, "overlay.mismatch", "did not merge", "look"))


def test_a_record_is_read_as_it_was_written(paths: Paths) -> None:
    write_failed_refreshes(paths, {Kind.SYSEXT: FAILED})
    assert read_failed_refreshes(paths) == {Kind.SYSEXT: FAILED}
    write_failed_refreshes(paths, {})
    assert not paths.failed_refreshes.exists()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"sysext": {}}', '{"other": {}}', '{"sysext": 5}'])
def test_a_damaged_record_holds_nothing_back(paths: Paths, text: str) -> None:
    write_failed_refreshes(paths, {Kind.SYSEXT: FAILED})
    paths.failed_refreshes.write_text(text)
    assert read_failed_refreshes(paths) == {}


def test_whatever_changes_in_a_search_directory_is_another_cause(paths: Paths) -> None:
    def cause(wanted: object = "a") -> str:
        found = read_links(paths, 252)
        host = Host({}, "x86_64", 252)
        return cause_of(Kind.SYSEXT, ObservedState(host, found.links, found.unmanaged), wanted)

    causes = [cause(), cause("b")]
    stranger = paths.links(Kind.SYSEXT) / "byhand"
    (stranger / "usr").mkdir(parents=True)
    causes.append(cause())
    (stranger / "usr").rmdir()
    os.utime(stranger, (1, 1))
    causes.append(cause())
    (paths.links(Kind.CONFEXT) / "other").mkdir(parents=True)
    assert cause() == causes[-1]
    place(paths, ExtensionId("tool"), Entry("sha256:" + "a" * 64))
    causes.append(cause())
    assert len(set(causes)) == len(causes)
    assert cause() == causes[-1]
