"""A fuzz target for the layer reader: valid archives, spoilt in ways that keep most of their structure.

Whatever the input, only `Invalid` or `Failed` may be raised, with one line for people; nothing around the target may
change; and the memory stays bounded. In the tests it runs briefly; at length by hand, as all of tests/fuzztexts.py:

    python -m tests.fuzz --minutes 10 --target layers
"""

from __future__ import annotations

import argparse
import gzip
import random
import re
import shutil
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from reconciler.model.content.limits import Limits
from tests.fuzztexts import targets
from tests.host import tars
from tests.host.hostile.cases import OUTSIDE, Case, Packed
from tests.host.hostile.surroundings import Surroundings
from tests.host.tars import Entry

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

T = TypeVar("T")
LIMITS: Final = Limits(size=4 << 20, members=300, ratio=20)
_BLOCK: Final = 512
_HANG: Final = 60  # seconds that one example may take in a run by hand
_BATCH: Final = 500  # examples between two looks at the clock
_PLAIN: Final = ("a", "b", "s", "d")
_ODD: Final = ("..", ".", "", ".wh.a", ".wh.s", ".wh.d", ".wh..wh..opq", ".wh.", "n" * 120, "\u00e9", "x\ny")
_WORDS: Final = (*_PLAIN * 15, *_ODD)  # mostly plain, so that an archive gets beyond its first member
_TARGETS: Final = (*_PLAIN * 8, *_ODD, OUTSIDE, f"{OUTSIDE}/inner", "../..", "/", "/a", "../../outside", "s/../..")
_NUMBERS: Final = (
    b"",
    b"0",
    b"1",
    b"511",
    b"512",
    b"513",
    b"-1",
    b"777",
    b"99999999999",
    b"9" * 19,
    b"x",
    b"1.5",
    b"\xff" * 8,
)
_KEYS: Final = (
    b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime", b"GNU.sparse.map", b"GNU.sparse.size",
    b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.realsize", b"GNU.sparse.name", b"GNU.sparse.offset",
    b"GNU.sparse.numbytes",
    b"SCHILY.xattr.user.a", b"SCHILY.xattr.security.capability", b"SCHILY.xattr.trusted.overlay.opaque", b"comment",
)  # fmt: skip
# Offset and length of the fields of a header.
_FIELDS: Final = {
    "name": (0, 100), "mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12), "mtime": (136, 12),
    "type": (156, 1), "link": (157, 100), "magic": (257, 8), "prefix": (345, 155),
    "map": (386, 96), "real": (482, 13),
}  # fmt: skip

_names = st.lists(st.sampled_from(_WORDS), min_size=1, max_size=4).map("/".join)
_targets = st.lists(st.sampled_from(_TARGETS), min_size=1, max_size=3).map("/".join)
_kinds = st.sampled_from([*[b"0"] * 15, *[b"5"] * 15, *[b"2"] * 15, *[b"1"] * 10, b"3", b"6", b"7", b"V"])


@st.composite
def _entries(draw: st.DrawFn) -> Entry:
    kind = draw(_kinds)
    content = draw(st.sampled_from([b"", b"1", b"x" * 700, bytes(9000)])) if kind == b"0" else b""
    link = draw(_targets) if kind in b"12" else ""
    return Entry(draw(_names), kind, content, link, draw(st.sampled_from([0o644, 0o755, 0o4755, 0])))


def _pax(records: list[tuple[bytes, bytes]], flag: bytes) -> bytes:
    return tars.extended(*records, flag=flag)


_values = st.one_of(
    st.sampled_from(_NUMBERS),
    _targets.map(str.encode),
    st.lists(st.sampled_from(_NUMBERS[1:6]), max_size=6).map(b",".join),
    st.binary(max_size=40),
)
_records = st.lists(st.tuples(st.sampled_from(_KEYS), _values), max_size=5)
_pieces = st.one_of(
    st.lists(_entries(), max_size=8).map(lambda items: tars.tar(*items)[:-1024]),
    st.lists(_entries(), max_size=8).map(lambda items: tars.tar(*items, form="gnu")[:-1024]),
    st.builds(_pax, _records, st.sampled_from([b"x", b"x", b"g"])),
    st.sampled_from(sorted(tars.FORMATS)).map(lambda form: tars.tar(tars.file("f", b"1"), form=form)),
    st.sampled_from(["gnu", "0.0", "0.1", "1.0"]).map(tars.sparse),
)
_archives = st.lists(_pieces, min_size=1, max_size=4).map(lambda pieces: b"".join(pieces) + tars.END)
_fields = st.sampled_from(sorted(_FIELDS))
_values_of_fields = st.one_of(_values, _names.map(str.encode), st.sampled_from([b"S", b"x", b"g", b"L", b"K", b"5"]))


def _with_field(data: bytes, place: int, field: str, value: bytes) -> bytes:
    """Edit one field of the header in a block, and let its sum be right again."""
    start = place * _BLOCK % max(len(data) // _BLOCK * _BLOCK, 1)
    block = bytearray(data[start : start + _BLOCK])
    offset, length = _FIELDS[field]
    block[offset : offset + length] = value[:length].ljust(length, b"\0")
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return data[:start] + block + data[start + _BLOCK :]


def _flip(data: bytes, place: int, bit: int) -> bytes:
    if not data:
        return data
    place %= len(data)
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def _cut(data: bytes, place: int) -> bytes:
    return data[: place % (len(data) + 1)]


def _splice(data: bytes, one: int, other: int, count: int) -> bytes:
    """Copy blocks from one place to another."""
    blocks = len(data) // _BLOCK + 1
    start, to = one % blocks * _BLOCK, other % blocks * _BLOCK
    return data[:to] + data[start : start + count * _BLOCK] + data[to:]


def _drop(data: bytes, place: int, count: int) -> bytes:
    start = place % (len(data) // _BLOCK + 1) * _BLOCK
    return data[:start] + data[start + count * _BLOCK :]


_places = st.sampled_from(range(1 << 12))
_counts = st.integers(1, 4)


@st.composite
def _edited(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes with one change."""
    match draw(st.sampled_from(["field", "field", "field", "flip", "cut", "splice", "drop"])):
        case "field":
            return _with_field(data, draw(_places), draw(_fields), draw(_values_of_fields))
        case "flip":
            return _flip(data, draw(_places), draw(st.integers(0, 7)))
        case "cut":
            return _cut(data, draw(_places))
        case "splice":
            return _splice(data, draw(_places), draw(_places), draw(_counts))
        case _:
            return _drop(data, draw(_places), draw(_counts))


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A layer: an archive that was edited, how it is compressed, and what happens to it after that."""

    archive: bytes
    compressions: tuple[str, ...]
    flip: int | None
    cut: int | None
    tail: bytes

    def packed(self, outside: str) -> Packed:
        """As stored, where `OUTSIDE` is that directory."""
        data = self.archive.replace(OUTSIDE.encode(), outside.encode())
        for name in self.compressions:
            data = tars.COMPRESSIONS[name](data)
        if self.flip is not None:
            data = _flip(data, self.flip, self.flip % 8)
        return Packed((data if self.cut is None else _cut(data, self.cut)) + self.tail)


def _rarely(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    return st.integers(0, 9).flatmap(lambda number: strategy if number == 9 else st.none())


@st.composite
def _edited_archives(draw: st.DrawFn) -> bytes:
    data = draw(_archives)
    for _ in range(draw(st.integers(0, 3))):
        data = draw(_edited(data))
    return data


_tails = st.sampled_from([*[b""] * 20, b"x", bytes(700), gzip.compress(b"", mtime=0), b"\x28\xb5\x2f\xfd"])
_compressions = st.sampled_from([*[()] * 10, *[(name,) for name in tars.COMPRESSIONS] * 2, ("gzip", "zstd")])
layers = st.lists(
    st.builds(Spoilt, _edited_archives(), _compressions, _rarely(_places), _rarely(_places), _tails),
    min_size=1,
    max_size=3,
)


def check(place: Path, images: list[Spoilt]) -> str | None:
    """Unpack into an empty directory; return the message, or None where nothing was refused.

    Raises:
        AssertionError: something around the target changed, or the message is not for people.
        Exception: whatever is neither `Invalid` nor `Failed`.
    """

    def build(outside: str) -> list[Packed]:
        return [image.packed(outside) for image in images]

    try:
        return Surroundings(place).attempt(Case("fuzz", build, limits=LIMITS))
    finally:
        shutil.rmtree(place)


class Run:
    """A long run by hand: batches of examples until the time is over."""

    def __init__(self, minutes: float, strategy: st.SearchStrategy[Any], check: Callable[[Any], str | None]) -> None:
        self._until = time.monotonic() + minutes * 60
        self._strategy, self._check = strategy, check
        self.examples = 0
        self.reasons: Counter[str] = Counter()

    def work(self, first_seed: int) -> None:
        number = first_seed
        while time.monotonic() < self._until:
            self._batch(number)
            number += 1

    def _batch(self, number: int) -> None:
        @seed(number)
        @settings(
            max_examples=_BATCH,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(example=self._strategy)
        def attempt(example: Any) -> None:  # noqa: ANN401 - of any target
            self._attempt(example)

        attempt()

    def _attempt(self, example: Any) -> None:  # noqa: ANN401 - of any target
        signal.alarm(_HANG)
        message = self._check(example)
        signal.alarm(0)
        self.examples += 1
        self.reasons[_reason(message)] += 1


def _reason(message: str | None) -> str:
    """What a message says, without names and numbers."""
    return (
        "taken"
        if message is None
        else re.sub(r"\(.*|\d+| (link|to|parent) [^ ]*/?[^ ]*", r" \1", message.rpartition(": ")[2])[:80]
    )


def _hang(_signal: int, _frame: FrameType | None) -> None:
    raise AssertionError(f"an example took more than {_HANG} s")


def main() -> None:
    """Fuzz for some minutes; the first failure ends it, shrunk to its least form."""
    names = ["layers", *targets()]
    parser = argparse.ArgumentParser(description="Fuzz what reads content and texts of others; layers as root.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--target", choices=names, default="layers")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32), help="of the first batch")  # noqa: S311
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, _hang)
    directory = Path(tempfile.mkdtemp(prefix="fuzz-"))
    if arguments.target == "layers":
        run = Run(arguments.minutes, layers, partial(check, directory / "place"))
    else:
        target = targets()[arguments.target]
        run = Run(arguments.minutes, target.texts, target.check)
    print(f"{arguments.target}, seed {arguments.seed}")  # noqa: T201 - a report for a person
    try:
        run.work(arguments.seed)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        report = [f"{run.examples} examples, {len(run.reasons)} ways to end"]
        report += [f"{count:8}  {reason}" for reason, count in run.reasons.most_common(30)]
        print("\n".join(report))  # noqa: T201


if __name__ == "__main__":
    main()
