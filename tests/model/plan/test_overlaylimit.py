"""The page that an overlay's mount options must fit, with what was measured on 252, 254 and 257."""

from __future__ import annotations

from reconciler.model.kind import Kind
from reconciler.model.plan.overlaylimit import OPTIONS_MAX, in_excess, option_length

NAMES = [f"ext{number:04}" for number in range(200)]


def test_ninety_four_names_of_seven_letters_fit_and_ninety_five_do_not() -> None:
    assert option_length(NAMES[:94], Kind.SYSEXT) <= OPTIONS_MAX < option_length(NAMES[:95], Kind.SYSEXT)


def test_the_options_are_what_systemd_passes() -> None:
    told = "lowerdir=/run/systemd/sysext/meta/usr:/run/systemd/sysext/extensions/one/usr:/usr"
    assert option_length(["one"], Kind.SYSEXT) == len(told)
    assert option_length(["one"], Kind.CONFEXT) == len(told)


def test_what_is_there_stays_and_the_last_new_ones_are_left_out() -> None:
    assert in_excess(frozenset(NAMES[:90]), NAMES[90:94], Kind.SYSEXT) == ()
    assert in_excess(frozenset(NAMES[10:100]), NAMES[:6], Kind.SYSEXT) == ("ext0004", "ext0005")
    assert in_excess(frozenset(NAMES[:100]), ["a"], Kind.SYSEXT) == ("a",)
    assert in_excess(frozenset(NAMES[:93]), ["a" * 64, "b"], Kind.SYSEXT) == ("a" * 64,)
