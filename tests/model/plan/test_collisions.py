"""Whose file is seen, by systemd's order of names."""

from __future__ import annotations

import itertools

import pytest

from reconciler.model.fit.permissions import Permissions
from reconciler.model.plan.collisions import FileList, collisions, providers
from reconciler.model.plan.layerorder import bottom_up


@pytest.mark.parametrize(
    "order",
    [
        ["c9", "c10"],
        ["a", "b", "c"],
        ["app~rc1", "app", "app-1", "app.1", "app2"],
        ["a-1", "a.1", "a1", "ab"],
        ["A", "a"],
        ["x1.2", "x1.10"],
        ["x1", "x01.5", "x2"],
    ],
)
def test_the_last_name_is_the_top_layer(order: list[str]) -> None:
    for shuffled in itertools.permutations(order):
        assert bottom_up(shuffled) == order


def _list(*paths: str) -> FileList:
    return FileList(
        frozenset(path for path in paths if not path.endswith("/")),
        dict.fromkeys((path.rstrip("/") for path in paths if path.endswith("/")), Permissions()),
    )


def test_the_upper_one_hides_the_lower_ones_files() -> None:
    lists = {
        "c10": _list("usr/", "usr/bin/", "usr/bin/x", "usr/bin/y"),
        "c9": _list("usr/", "usr/bin/", "usr/bin/x", "usr/bin/y", "usr/bin/z"),
        "other": _list("usr/", "usr/bin/", "usr/bin/w"),
    }
    (found,) = collisions(lists)
    assert (found.upper, found.lower, found.paths) == ("c10", "c9", ("usr/bin/x", "usr/bin/y"))
    assert found.told_of("c10") == "hides /usr/bin/x and 1 more of c9"
    assert found.told_of("c9") == "c10 hides /usr/bin/x and 1 more of it"
    assert providers("usr/bin/x", lists) == ["c10", "c9"]
    assert providers("usr/bin", lists) == ["other", "c10", "c9"]
    assert providers("usr/bin/none", lists) == []


def test_a_file_and_a_directory_collide_but_two_directories_and_release_files_do_not() -> None:
    release = "usr/lib/extension-release.d/extension-release.x"
    assert collisions({"a": _list("opt/x/", release), "b": _list("opt/x/", release)}) == []
    (found,) = collisions({"a": _list("opt/x/", "opt/x/y"), "b": _list("opt/x")})
    assert found.paths == ("opt/x",)
    (found,) = collisions({"a": _list("opt/x"), "b": _list("opt/x/", "opt/x/y")})
    assert found.paths == ("opt/x",)


def test_indexes_of_kernel_modules_are_made_of_all_and_modules_are_not() -> None:
    index, module = "usr/lib/modules/6.1.0-x/modules.dep.bin", "usr/lib/modules/6.1.0-x/kernel/x.ko"
    assert collisions({"a": _list(index), "b": _list(index)}) == []
    (found,) = collisions({"a": _list(index, module), "b": _list(index, module)})
    assert found.paths == (module,)
