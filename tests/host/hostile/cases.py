"""What a hostile case is, and short ways to write one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from reconciler.model.content.limits import Limits
from tests.host.tars import END, tar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.host.tars import Entry

USUAL: Final = Limits()
OUTSIDE: Final = "{outside}"  # stands for the absolute path of a directory that must stay as it is


@dataclass(frozen=True, slots=True)
class Packed:
    """A layer as a registry hands it out, and what the manifest and the configuration claim about it."""

    blob: bytes
    digest: str | None = None  # None: the true one
    size: int | None = None  # None: the true one
    diff_id: str | None = None  # None: the configuration says nothing


@dataclass(frozen=True, slots=True)
class Case:
    """Layers that are refused with certain words, or that become a certain tree although they look dangerous."""

    name: str
    build: Callable[[str], Sequence[Packed]]  # given the path that `OUTSIDE` stands for
    refused: str = ""  # words of the message
    tree: Mapping[str, str] | None = None  # as tars.contents has it
    limits: Limits = USUAL


def entries(*layers: Sequence[Entry]) -> Callable[[str], Sequence[Packed]]:
    """Layers of members as tarfile writes them."""

    def build(outside: str) -> Sequence[Packed]:
        def real(text: str) -> str:
            return text.replace(OUTSIDE, outside)

        archives = (
            tar(*(replace(item, name=real(item.name), link=real(item.link)) for item in layer)) for layer in layers
        )
        return [Packed(archive) for archive in archives]

    return build


def raw(*archives: bytes) -> Callable[[str], Sequence[Packed]]:
    """Layers of headers written by hand, each with an end."""
    return lambda outside: [Packed(item.replace(OUTSIDE.encode(), outside.encode()) + END) for item in archives]


def blobs(*layers: Packed | bytes) -> Callable[[str], Sequence[Packed]]:
    """Layers as they are."""
    return lambda _: [item if isinstance(item, Packed) else Packed(item) for item in layers]


def refuse(words: str, *layers: Sequence[Entry]) -> Case:
    """Members that are refused with these words."""
    return Case("", entries(*layers), refused=words)


def refuse_raw(words: str, *archives: bytes) -> Case:
    """Headers by hand that are refused with these words."""
    return Case("", raw(*archives), refused=words)


def harmless(tree: Mapping[str, str], *layers: Sequence[Entry]) -> Case:
    """Members that become this tree."""
    return Case("", entries(*layers), tree=tree)


def harmless_raw(tree: Mapping[str, str], *archives: bytes) -> Case:
    """Headers by hand that become this tree."""
    return Case("", raw(*archives), tree=tree)


def named(cases: Mapping[str, Case]) -> tuple[Case, ...]:
    """Cases that have got the names they are listed under."""
    return tuple(replace(case, name=name) for name, case in cases.items())
