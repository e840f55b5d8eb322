"""The dataclasses of the package are those of the standard library, but for what costs time."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import pytest

from reconciler.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Ours:
    """A value."""

    name: str
    size: int = 0
    tags: tuple[str, ...] = dataclasses.field(default_factory=tuple)
    seen: float = dataclasses.field(default=0.0, compare=False, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Theirs:
    """The same."""

    name: str
    size: int = 0
    tags: tuple[str, ...] = dataclasses.field(default_factory=tuple)
    seen: float = dataclasses.field(default=0.0, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Empty:
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Loud:
    """It says itself what it is."""

    name: str

    def __repr__(self) -> str:
        return self.name.upper()

    def __post_init__(self) -> None:
        assert self.name


@dataclass(frozen=True, slots=True)
class More(Ours):
    """A value with a further field."""

    last: int = 9


@dataclass(frozen=True, slots=True, order=True)
class Ordered:
    """A value that is sorted."""

    it: int


VALUES: Any = [("a",), ("a", 1), ("a", 1, ("x",)), ("a", 1, ("x",), 3.5), ("b", 0, (), 1.0)]


@pytest.mark.parametrize("one", VALUES)
@pytest.mark.parametrize("other", VALUES)
def test_equality_hashes_and_words_are_theirs(one: Any, other: Any) -> None:  # noqa: ANN401 - arguments of a class
    assert (Ours(*one) == Ours(*other)) is (Theirs(*one) == Theirs(*other))
    assert len({Ours(*one), Ours(*other)}) == len({Theirs(*one), Theirs(*other)})
    assert repr(Ours(*one)) == repr(Theirs(*one)).replace("Theirs", "Ours")


def test_what_is_of_another_class_is_not_equal() -> None:
    ours: object = Ours("a")
    assert ours not in {Theirs("a"), More("a")}
    assert Empty() == Empty()
    assert hash(Empty()) == hash(Empty())
    assert repr(Empty()) == "Empty()"


def test_what_a_class_defines_itself_stays() -> None:
    assert repr(Loud("a")) == "A"
    with pytest.raises(AssertionError):
        Loud("")


def test_the_library_knows_them() -> None:
    it = More("a", 1, ("x",), 2.0, 3)
    assert dataclasses.replace(it, size=5) == More("a", 5, ("x",), 2.0, 3)
    assert dataclasses.asdict(it) == {"name": "a", "size": 1, "tags": ("x",), "seen": 2.0, "last": 3}
    assert not hasattr(it, "__dict__")
    assert copy.deepcopy(it) == it == pickle.loads(pickle.dumps(it))  # noqa: S301 - made here
    match it:
        case Ours(name, size):
            assert (name, size) == ("a", 1)


def test_others_are_theirs_altogether() -> None:
    assert min(Ordered(2), Ordered(1)) == Ordered(1)
