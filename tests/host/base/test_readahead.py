"""Pieces made in a thread: their order, what the maker raises, and that no thread is ever left."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from reconciler.host.base.readahead import BYTES_AHEAD, ReadAhead

if TYPE_CHECKING:
    from collections.abc import Iterator

_MANY = 1000
_PIECE = bytes(1 << 20)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before  # one that another test has left may end meanwhile


def taken(reader: ReadAhead) -> list[bytes]:
    return list(iter(reader.take, b""))


def test_pieces_come_in_their_order_and_then_nothing_for_ever() -> None:
    reader = ReadAhead(iter([b"%d" % number for number in range(_MANY)]))
    assert taken(reader) == [b"%d" % number for number in range(_MANY)]
    assert reader.take() == b""
    reader.stop()


def test_what_the_maker_raises_comes_after_its_pieces() -> None:
    def make() -> Iterator[bytes]:
        yield b"one"
        raise OSError("broken")

    reader = ReadAhead(make())
    assert reader.take() == b"one"
    for _ in range(2):
        with pytest.raises(OSError, match="broken"):
            reader.take()
    reader.stop()


def test_the_maker_runs_ahead_a_bounded_way_and_ends_when_stopped_there() -> None:
    made = threading.Semaphore(0)
    limit = BYTES_AHEAD // len(_PIECE)

    def make() -> Iterator[bytes]:
        for _ in range(_MANY):
            made.release()
            yield _PIECE

    reader = ReadAhead(make())
    assert reader.take() == _PIECE
    for _ in range(1 + limit + 1):  # what was taken, what waits, what has no room any more
        made.acquire()
    reader.stop()
    assert not made.acquire(blocking=False)


def test_a_stop_frees_a_reader_that_waits_for_another_one() -> None:
    """As the content's hashing waits for decompression, which waits for room."""
    first = ReadAhead(iter([_PIECE] * _MANY))
    second = ReadAhead(iter(first.take, b""))
    assert second.take() == _PIECE
    first.stop()
    second.stop()


def test_a_reader_that_was_stopped_before_it_began_makes_nothing() -> None:
    reader = ReadAhead(iter([_PIECE]))
    reader.stop()
    assert reader.take() == b""


def test_a_reader_in_need_of_a_piece_is_freed_by_a_stop() -> None:
    go_on = threading.Event()

    def make() -> Iterator[bytes]:
        go_on.wait()
        yield _PIECE

    reader = ReadAhead(make())
    waiting = threading.Thread(target=reader.take)
    waiting.start()
    stopping = threading.Thread(target=reader.stop)
    stopping.start()
    waiting.join()
    go_on.set()
    stopping.join()
