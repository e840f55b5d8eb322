"""How extensions lie on disk: what the configuration asks for, and what is chosen where it asks for nothing."""

from __future__ import annotations

import pytest

from reconciler.errors import Invalid
from reconciler.model.content.format import Format, Payload, choose

MIB = 1 << 20


@pytest.mark.parametrize(
    ("payload", "size", "against", "format_", "words"),
    [
        (Payload.IMAGE, 900 * MIB, "this node has no loop devices", Format.RAW, "the source is an image file"),
        (Payload.LAYERS, 900 * MIB, "this node has no loop devices", Format.DIRECTORY, "no loop devices"),
        (Payload.LAYERS, 900 * MIB, None, Format.SQUASHFS, "900 MiB are kept compressed"),
        (Payload.LAYERS, MIB, None, Format.DIRECTORY, "it is small"),
        (Payload.LAYERS, None, None, Format.DIRECTORY, "it is small"),
        (Payload.TAR, 64 * MIB, None, Format.SQUASHFS, "64 MiB"),
        (Payload.TREE, 64 * MIB - 1, None, Format.DIRECTORY, "it is small"),
    ],
)
def test_auto_chooses_and_says_why(
    payload: Payload, size: int | None, against: str | None, format_: Format, words: str
) -> None:
    choice = choose(None, payload, size, against)
    assert choice.format is format_
    assert words in choice.reason


@pytest.mark.parametrize(
    ("payload", "size", "against", "stored", "format_"),
    [
        (Payload.LAYERS, 900 * MIB, None, {Format.DIRECTORY}, Format.DIRECTORY),
        (Payload.LAYERS, 900 * MIB, None, {Format.DIRECTORY, Format.SQUASHFS}, Format.SQUASHFS),
        (Payload.LAYERS, MIB, None, {Format.EROFS}, Format.EROFS),
        (Payload.LAYERS, MIB, "this node has no loop devices", {Format.EROFS}, Format.DIRECTORY),
        (Payload.LAYERS, None, "this node has no loop devices", {Format.RAW}, Format.RAW),
    ],
)
def test_auto_keeps_what_the_store_has_and_the_node_can_use(
    payload: Payload, size: int | None, against: str | None, stored: set[Format], format_: Format
) -> None:
    assert choose(None, payload, size, against, stored).format is format_


@pytest.mark.parametrize("wanted", Format)
@pytest.mark.parametrize("payload", Payload)
def test_what_is_configured_is_taken_or_refused_with_a_way_out(wanted: Format, payload: Payload) -> None:
    possible = {
        Payload.LAYERS: set(Format),
        Payload.IMAGE: {Format.RAW},
        Payload.TAR: set(Format) - {Format.RAW},
        Payload.TREE: set(Format) - {Format.RAW},
    }
    if wanted in possible[payload]:
        assert choose(wanted, payload, None, "a reason that does not count") == choose(wanted, payload, 1, None)
        assert choose(wanted, payload, None, None).format is wanted
    else:
        with pytest.raises(Invalid, match="the source is") as caught:
            choose(wanted, payload, None, None)
        assert caught.value.hint
        assert "set format:" in caught.value.hint
