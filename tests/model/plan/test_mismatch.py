"""What is told of a refresh that did not bring what it should, and what is hidden while the old state is restored."""

from __future__ import annotations

from pathlib import Path

from reconciler.model.kind import Kind
from reconciler.model.plan.mismatch import Mismatch, listed
from reconciler.model.state.observed import Merged, Unmanaged

DIRECTORY = Path("/var/lib/extensions")
OLD, BAD, NEW = (Unmanaged(name, DIRECTORY / name) for name in ("old", "bad", "new"))
BEFORE = Merged(frozenset({"tool", "old"}), 5)


def _mismatch(**more: object) -> Mismatch:
    return Mismatch(Kind.SYSEXT, frozenset({"tool"}), frozenset(), **({"words": "no"} | more))  # type: ignore[arg-type]


def test_the_reason_names_what_did_not_merge_and_who_is_to_blame() -> None:
    told = _mismatch(suspects=(BAD, OLD))
    assert told.reason == "after a refresh tool did not merge (systemd-sysext: no)"
    assert told.hint.endswith("one of these may block all: /var/lib/extensions/bad, /var/lib/extensions/old")
    blamed = _mismatch(suspects=(BAD, OLD), culprits=(BAD.path,))
    assert blamed.reason.endswith("; nothing merges beside /var/lib/extensions/bad")
    assert blamed.hint == "remove or replace /var/lib/extensions/bad, which livelayer did not place"


def test_without_a_refresh_none_is_told() -> None:
    told = _mismatch(refused="the mount / is private", advice="share it")
    assert (told.reason, told.hint) == (
        "there was no refresh, so tool did not merge: the mount / is private",
        "share it",
    )


def test_long_words_and_lists_are_cut() -> None:
    assert len(_mismatch(words="x" * 5000).reason) < 500
    assert listed([DIRECTORY / str(number) for number in range(12)]).endswith("/9 and 2 more")


def test_only_what_is_gone_is_made_anew_without_what_came_since() -> None:
    assert _mismatch(suspects=(BAD,), newcomers=(BAD,)).concealments == ((),)
    gone = {"before": BEFORE, "lost": BEFORE.names}
    assert _mismatch(**gone).concealments == ((),)
    assert _mismatch(**gone, suspects=(BAD, NEW, OLD), newcomers=(BAD, NEW)).concealments == (
        (BAD, NEW),
        (BAD, NEW, OLD),
    )
    assert _mismatch(**gone, suspects=(BAD, NEW), newcomers=(BAD, NEW)).concealments == ((BAD, NEW),)
    assert _mismatch(**gone, suspects=(BAD, OLD), culprits=(OLD.path,)).concealments == ((OLD,), (BAD, OLD))
    assert _mismatch(**gone, suspects=(OLD,)).concealments == ((OLD,),)


def test_an_overlay_is_untouched_if_it_is_the_same_one() -> None:
    assert _mismatch(before=BEFORE, now=BEFORE).untouched
    assert not _mismatch(before=BEFORE, now=Merged(BEFORE.names, 6)).untouched
    assert not _mismatch(before=BEFORE).untouched
