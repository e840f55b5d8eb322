"""What is deleted, cut off or overwritten by hand: a repair, or a clear error until it is put right."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

import pytest

from tests.faults.victim import Want, Wish
from tests.luck import IS_LONG, seeded

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.victim import Victim

pytestmark = [pytest.mark.system, pytest.mark.commands]

_WANT: Final = Want({"alpha": Wish("1"), "beta": Wish("1", "squashfs"), "gamma": Wish("1")})
_STATE: Final = "var/lib/livelayer"
_RECORDS: Final = ("desired.json", "resolutions.json", "first-seen.json", "location.json")
_TEXTS: Final = {
    "cut off": b'{"extensions": {"al',
    "empty": b"",
    "no text": bytes(range(256)),
    "a list": b"[]",
    "of a newer version": b'{"version": 7, "extensions": [{"x": 1}], "state_dir": {"x": 1}, "problems": 3}',
    "too deep": b"[" * 100_000,
}


def _entry(victim: Victim, name: str) -> Path:
    """The entry of the store that an extension's link leads to."""
    links = victim.root / "var/lib/extensions"
    link = links / ("beta.raw" if name == "beta" else name)
    return links / os.readlink(link)


def _delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _delete_store(victim: Victim) -> None:
    _delete(victim.root / _STATE / "store")


def _delete_state(victim: Victim) -> None:
    for path in (victim.root / _STATE).iterdir():
        _delete(path)


def _delete_a_directory(victim: Victim) -> None:
    _delete(_entry(victim, "alpha"))


def _delete_an_image(victim: Victim) -> None:
    _delete(_entry(victim, "beta"))


def _delete_an_image_s_record(victim: Victim) -> None:
    entry = _entry(victim, "beta")
    _delete(entry.with_name(f"{entry.name}.json"))


def _damage_an_image_s_record(victim: Victim) -> None:
    entry = _entry(victim, "beta")
    entry.with_name(f"{entry.name}.json").write_bytes(_TEXTS["of a newer version"])


def _cut_off_an_image_without_a_record(victim: Victim) -> None:
    """A mounted file must keep its bytes, so another one takes its place."""
    _delete_an_image_s_record(victim)
    entry = _entry(victim, "beta")
    content = entry.read_bytes()
    entry.unlink()
    entry.write_bytes(content[:100])


def _put_a_file_in_a_directory_s_place(victim: Victim) -> None:
    entry = _entry(victim, "alpha")
    _delete(entry)
    entry.write_text("no directory")


def _put_a_dangling_link_in_a_directory_s_place(victim: Victim) -> None:
    entry = _entry(victim, "gamma")
    _delete(entry)
    entry.symlink_to("nowhere")


def _put_a_directory_in_an_image_s_place(victim: Victim) -> None:
    entry = _entry(victim, "beta")
    _delete(entry)
    (entry / "not/empty").mkdir(parents=True)


def _fill_staging(victim: Victim) -> None:
    staging = victim.root / _STATE / "staging"
    (staging / "fetch-dead/tree/usr").mkdir(parents=True)
    (staging / "fetch-dead/tree/usr/file").write_text("half")
    (staging / "fetch-dead").chmod(0)
    (staging / "link-1").symlink_to("nowhere")


def _fill_staging_for_ever(victim: Victim) -> None:
    """What cannot be removed is in nobody's way."""
    staging = victim.root / _STATE / "staging"
    staging.mkdir(exist_ok=True)
    victim.namespace.run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", f"/{_STATE}/staging")
    (staging / "file").write_text("half")
    victim.namespace.run("mount", "-o", "remount,ro", f"/{_STATE}/staging")
    victim.apply()
    victim.namespace.run("umount", f"/{_STATE}/staging")


def _damage_the_status(victim: Victim) -> None:
    for name in ("status.json", "seen.json"):
        (victim.root / "run/livelayer/state" / name).write_bytes(_TEXTS["of a newer version"])
    victim.namespace.run(victim.command, "status")


def _place_dangling_links(victim: Victim) -> None:
    links = victim.root / "var/lib/extensions"
    (links / "ours").symlink_to(f"../livelayer/store/sha256/{'0' * 64}.directory")
    (links / ".#alpha.livelayer").symlink_to(os.readlink(links / "alpha"))


_REPAIRED: Final[tuple[Callable[[Victim], None], ...]] = (
    _delete_store,
    _delete_state,
    _delete_a_directory,
    _delete_an_image,
    _delete_an_image_s_record,
    _damage_an_image_s_record,
    _cut_off_an_image_without_a_record,
    _put_a_file_in_a_directory_s_place,
    _put_a_dangling_link_in_a_directory_s_place,
    _put_a_directory_in_an_image_s_place,
    _fill_staging,
    _fill_staging_for_ever,
    _damage_the_status,
    _place_dangling_links,
)


def test_repaired_by_the_next_run(victim: Victim) -> None:
    victim.learn(_WANT)
    for damage in _REPAIRED if IS_LONG else seeded("repaired").sample(_REPAIRED, len(_REPAIRED) // 2):
        damage(victim)
        told = victim.apply().stderr
        assert list(victim.differences(_WANT)) == [], f"{damage.__name__}\n{told}"


def test_damaged_records_are_made_anew(victim: Victim) -> None:
    """All at once, while there is something to do."""
    victim.learn(_WANT)
    for what, text in _TEXTS.items():
        for name in _RECORDS:
            (victim.root / _STATE / name).write_bytes(text)
        version = "2" if victim.says("alpha") == "1" else "1"
        victim.want(Want({**_WANT.wishes, "alpha": Wish(version)}))
        told = victim.apply().stderr
        assert victim.says("alpha") == version, f"{what}\n{told}"
    (victim.root / _STATE / "first-seen.json").unlink()  # nobody needs it here, so it stays as it is
    victim.learn(_WANT)


_IN_THE_WAY: Final = (
    *(f"{_STATE}/{name}" for name in ("store", "staging", "blobs", "file-lists", "desired.json", "resolutions.json")),
    *(f"run/livelayer/state/{name}" for name in ("lock", "status.json", "seen.json", "refresh-owed-sysext")),
    "run/livelayer/status.json",
    "run/livelayer/state",
    "run/livelayer",
    _STATE,
)


def test_something_else_in_a_place(victim: Victim) -> None:
    """A file where a directory should be, or the other way about: told, and nothing that is merged goes."""
    victim.learn(_WANT)
    other = Want({**_WANT.wishes, "alpha": Wish("2"), "beta": Wish("2", "squashfs")})
    victim.learn(other)
    before, after = other, _WANT
    luck = seeded("in the way")
    for name in _IN_THE_WAY if IS_LONG else luck.sample(_IN_THE_WAY, 3):
        victim.want(after)
        victim.forget_unused()
        place = victim.root / name
        aside = place.with_name("aside")
        is_file = "." in place.name or place.name in {"lock", "refresh-owed-sysext"}
        if place.exists():
            place.rename(aside)
        (place / "x").mkdir(parents=True) if is_file else place.write_text("x")
        done = victim.apply(status=None)
        assert done.returncode == 0 or "\n  " in done.stderr, f"{name}\n{done.stderr}"
        assert before.wishes.keys() <= {path.name.removesuffix(".raw") for path in _links(victim)}
        _delete(place)
        if aside.exists():
            aside.rename(place)
        told = victim.apply().stderr
        assert list(victim.differences(after)) == [], f"{name}\n{told}"
        before, after = after, before


def _links(victim: Victim) -> list[Path]:
    return list((victim.root / "var/lib/extensions").iterdir())
