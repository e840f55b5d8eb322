"""What is counted, and when it is too much; more of it in the hostile layers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.host.layers.budget import Budget, Exceeded
from reconciler.host.tar.reader import Member
from reconciler.host.tar.sparse import SparseMap
from reconciler.model.content.limits import Limits
from reconciler.model.fit.filekind import FileKind

FILE = Member(b"usr/bin/a", FileKind.FILE, 0o755, 0, 0, 0, 40, b"", {})
MIB = 1 << 20


def test_one_budget_serves_all_layers() -> None:
    budget = Budget(Limits(size=100))
    for _ in range(2):
        budget.begin_layer(1000)
        budget.member(FILE)
    with pytest.raises(Exceeded, match=r"^takes the extension to 120 unpacked, more than the 100 that") as caught:
        budget.member(FILE)
    assert caught.value.member == b"usr/bin/a"
    assert caught.value.hint == "if the image is to be trusted: raise settings.limits.size"


def test_the_ratio_is_a_layers_own() -> None:
    budget = Budget(Limits(ratio=2))
    for _ in range(3):
        budget.begin_layer(50 * MIB)
        budget.unpacked(60 * MIB)
        budget.unpacked(40 * MIB)
    with pytest.raises(Exceeded, match="more than 2 times its size") as caught:
        budget.unpacked(1)
    assert caught.value.hint.endswith("raise settings.limits.ratio")


def test_a_small_layer_may_expand_as_much_as_it_can() -> None:
    budget = Budget(Limits(ratio=2))
    budget.begin_layer(100)
    budget.unpacked(64 * MIB)
    with pytest.raises(Exceeded):
        budget.unpacked(1)


def test_parents_count_as_members() -> None:
    budget = Budget(Limits(members=3))
    budget.name(b"usr")
    budget.name(b"usr/bin")
    budget.member(FILE)
    with pytest.raises(Exceeded, match="one more than the 3 files, directories and links") as caught:
        budget.name(b"opt")
    assert caught.value.member == b"opt"
    assert caught.value.hint.endswith("raise settings.limits.members")


def test_of_a_sparse_file_its_data_counts_and_its_size_has_a_limit() -> None:
    budget = Budget(Limits(size=1000))
    sparse = replace(FILE, sparse=SparseMap(1000, ((0, 40),)))
    for _ in range(25):
        budget.member(sparse)
    with pytest.raises(Exceeded, match="is sparse and has 1001 unpacked"):
        Budget(Limits(size=1000)).member(replace(sparse, sparse=SparseMap(1001, ((0, 40),))))


@pytest.mark.parametrize(
    "change", [{"mode": 0o4755}, {"mode": 0o2755}, {"xattrs": {b"security.capability": b"x"}}], ids=str
)
def test_privileges_are_refused_where_policy_forbids_them(change: dict[str, object]) -> None:
    member = replace(FILE, **change)  # type: ignore[arg-type]
    Budget(Limits()).member(member)
    with pytest.raises(Exceeded, match="which this node does not allow") as caught:
        Budget(Limits(setuid=False)).member(member)
    assert caught.value.hint.endswith("settings.limits.setuid: true")
