"""Extensions of others are hidden for a while, and nothing of it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.host.merge import masks
from reconciler.host.merge.culprits import named_in
from reconciler.host.merge.links import read_links

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.state.observed import Unmanaged
    from reconciler.paths import Paths

SYSTEMD = 252


def _placed(paths: Paths, directory: str, name: str = "bad") -> Unmanaged:
    (paths.under(directory) / name).mkdir(parents=True)
    return next(it for it in read_links(paths, SYSTEMD).unmanaged if it.path == paths.under(directory) / name)


def _mask(paths: Paths, directory: str) -> Path | None:
    return masks.mask_of(paths, SYSTEMD, _placed(paths, directory))


def test_a_mask_lies_below_run_if_that_is_enough(paths: Paths) -> None:
    assert _mask(paths, "/var/lib/extensions") == paths.under("/run/extensions/bad")
    assert _mask(paths, "/usr/lib/extensions") == paths.under("/run/extensions/bad")
    assert _mask(paths, "/run/extensions") == paths.under("/etc/extensions/bad")
    assert _mask(paths, "/etc/extensions") is None
    assert _mask(paths, "/usr/lib/confexts") == paths.under("/run/confexts/bad")
    assert _mask(paths, "/run/confexts") is None


def test_nothing_stays(paths: Paths) -> None:
    extension = _placed(paths, "/var/lib/extensions")
    paths.runtime.mkdir(parents=True)
    with masks.hidden(paths, SYSTEMD, [extension]):
        assert paths.under("/run/extensions/bad").is_dir()
        assert read_links(paths, SYSTEMD).unmanaged[0].path == paths.under("/run/extensions/bad")
    assert not paths.under("/run/extensions/bad").exists()
    assert not paths.hidden.exists()
    assert extension.path.is_dir()


def test_a_mask_of_others_and_what_was_put_into_ours_stay(paths: Paths) -> None:
    extensions = [_placed(paths, "/var/lib/extensions", name) for name in ("masked", "bad")]
    paths.runtime.mkdir(parents=True)
    theirs = paths.under("/run/extensions/masked")
    theirs.mkdir(parents=True)
    with masks.hidden(paths, SYSTEMD, extensions):
        (paths.under("/run/extensions/bad") / "file").touch()
    assert theirs.is_dir()
    assert paths.under("/run/extensions/bad/file").exists()


def test_what_a_killed_run_left_is_taken_away(paths: Paths) -> None:
    extension = _placed(paths, "/var/lib/extensions")
    paths.runtime.mkdir(parents=True)
    with masks.hidden(paths, SYSTEMD, [extension]):
        record = paths.hidden.read_bytes()
    paths.under("/run/extensions/bad").mkdir()
    paths.hidden.write_bytes(record)
    masks.clear(paths)
    assert not paths.under("/run/extensions/bad").exists()
    assert not paths.hidden.exists()


def test_a_damaged_record_is_dropped(paths: Paths) -> None:
    paths.runtime.mkdir(parents=True)
    for text in ('{"a": 1}', "[1, null]", "[]"):
        paths.hidden.write_text(text)
        masks.clear(paths)
        assert not paths.hidden.exists()


def test_systemd_names_the_image_it_could_not_read() -> None:
    assert named_in("Failed to read metadata for image bad: No medium found") == {"bad"}
    assert named_in("Failed to read metadata for image a.b-1: Package not installed; Reload failed") == {"a.b-1"}
    refused = "Extension image contains /usr/lib/os-release file, which is not allowed"
    assert named_in(refused) == frozenset()
