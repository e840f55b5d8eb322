"""Image policies; tests/system holds them against the real systemd."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import Invalid
from reconciler.model.images.imageformat import FileSystem, ImageFormat, Volume, naked
from reconciler.model.images.imagepolicy import (
    DEFAULTS,
    PARTITIONS,
    needs_device_mapper,
    parse_image_policy,
    refusal,
)
from reconciler.model.kind import Kind

SQUASHFS = naked(FileSystem.SQUASHFS)
VERITY_ONLY = "root=verity+absent:usr=verity+absent"


def _disk(*partitions: str) -> ImageFormat:
    return ImageFormat((Volume(FileSystem.EROFS, 1 << 20, 4096),), 512, frozenset(partitions))


PLAIN = _disk("root")
VERITY = _disk("root", "root-verity")
SIGNED = _disk("root", "root-verity", "root-verity-sig")


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("image", [SQUASHFS, PLAIN, VERITY, SIGNED])
def test_the_defaults_take_everything(kind: Kind, image: ImageFormat) -> None:
    assert refusal(DEFAULTS[kind], image) is None


@pytest.mark.parametrize(
    ("text", "image", "words"),
    [
        (VERITY_ONLY, SQUASHFS, "a file system without a partition table is unprotected, and verity is demanded"),
        (VERITY_ONLY, PLAIN, "the root partition is unprotected, and verity is demanded"),
        (VERITY_ONLY, VERITY, None),
        (VERITY_ONLY, SIGNED, None),
        ("root=signed", VERITY, "the root partition is protected by verity alone, and signed is demanded"),
        ("root=signed", SIGNED, None),
        ("root=signed+verity", PLAIN, "signed or verity is demanded"),
        ("root=unprotected", SIGNED, None),
        ("root=unprotected+signed", VERITY, "protected by verity alone"),
        ("usr=unprotected", SQUASHFS, "no root file system may be used"),
        ("usr=unprotected", PLAIN, "neither a root nor a usr partition"),
        ("~", PLAIN, "there must be no root partition"),
        ("root=unprotected:home=unprotected", PLAIN, "it demands a home partition"),
        ("root=unprotected:home=absent", _disk("root", "home"), "there must be no home partition"),
        ("root=unprotected+read-only-on", SQUASHFS, "the flag read-only of its root partition must be on"),
        ("root=unprotected+growfs-off", PLAIN, None),
        ("root=unprotected+erofs", SQUASHFS, "its file system is squashfs, and erofs is demanded"),
        ("root=unprotected+erofs+squashfs", SQUASHFS, None),
    ],
)
def test_refusals(text: str, image: ImageFormat, words: str | None) -> None:
    reason = refusal(parse_image_policy(text), image)
    if words is None:
        assert reason is None
    else:
        assert reason
        assert words in reason
        assert reason.startswith(f"the node's image policy ({text}) refuses it: ")


@pytest.mark.parametrize(
    ("text", "image", "needed"),
    [("*", SIGNED, True), ("*", VERITY, False), ("*", SQUASHFS, False), (VERITY_ONLY, SIGNED, False)],
)
def test_what_needs_device_mapper(text: str, image: ImageFormat, needed: bool) -> None:  # noqa: FBT001
    assert needs_device_mapper(parse_image_policy(text), image) is needed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("root", "without an equal sign: root"),
        (":=ignore", "an empty one"),
        ("house=open", "no partition house"),
        ("root=strong", "no flag strong"),
        ("root=verity+", "no flag without a name"),
        ("root=open:root=open", "two rules for root"),
        ("=open:=open", "two rules for the other partitions"),
    ],
)
def test_mistakes_are_told(text: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_image_policy(text)
    assert words in caught.value.message
    assert caught.value.message.startswith(f"image policy {text}: ")
    assert caught.value.hint


FLAGS = st.sets(
    st.sampled_from(["verity", "signed", "encrypted", "unprotected", "unused", "absent", "open", "ignore"])
).map(lambda flags: "+".join(sorted(flags)))
TEXTS = st.dictionaries(st.sampled_from([*PARTITIONS, ""]), FLAGS, min_size=1).map(
    lambda rules: ":".join(f"{partition}={flags}" for partition, flags in rules.items())
)


@given(TEXTS, st.sets(st.sampled_from(PARTITIONS)))
def test_every_policy_has_an_answer_to_every_image(text: str, partitions: set[str]) -> None:
    policy = parse_image_policy(text)
    image = _disk(*partitions)
    reason = refusal(policy, image)
    assert reason is None or "\n" not in reason
    if reason is None:
        assert partitions & {"root", "usr"}
        assert refusal(parse_image_policy("*"), image) is None
