"""Dataclasses that a short program can afford.

Most runs find nothing to do, and define more than a hundred classes for it. For each frozen one dataclasses.dataclass
compiles six functions, which was a fifth of such a run. Here only `__init__` is compiled; the others are shared. A
type checker sees the original, and it alone holds `frozen`: at run time nothing keeps a field from being set.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

_COMPARED = "__compared__"  # the function of a class that gets all that counts when values are compared

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool = False, slots: bool = False, **others: bool) -> Callable[[type], type]:
        """What frozen values with slots need, in less time; any other class as dataclasses.dataclass makes it."""
        if frozen and slots and not others:
            return _frozen
        return dataclasses.dataclass(frozen=frozen, slots=slots, **others)


def _frozen(cls: type) -> type:
    made: Any = dataclasses.dataclass(repr=False, eq=False, slots=True)(cls)
    names = [it.name for it in dataclasses.fields(made) if it.compare]
    setattr(made, _COMPARED, attrgetter(*names) if names else _nothing)
    for name, function in _SHARED.items():
        if name not in vars(cls):
            setattr(made, name, function)
    return made  # type: ignore[no-any-return]  # dataclasses.fields takes no plain type


def _nothing(_: object) -> tuple[()]:
    return ()


def _equals(self: Any, other: object) -> Any:  # noqa: ANN401 - a class that is decorated
    if type(self) is not type(other):
        return NotImplemented
    values = getattr(type(self), _COMPARED)
    return values(self) == values(other)


def _hash(self: Any) -> int:  # noqa: ANN401
    return hash(getattr(type(self), _COMPARED)(self))


def _represent(self: Any) -> str:  # noqa: ANN401
    shown = (f"{it.name}={getattr(self, it.name)!r}" for it in dataclasses.fields(self) if it.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


_SHARED = {"__eq__": _equals, "__hash__": _hash, "__repr__": _represent}
