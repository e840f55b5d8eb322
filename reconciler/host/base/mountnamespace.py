"""A look at what mounts cover, by a thread in a mount namespace of its own: unshare(2), which Python 3.11 lacks.

Looks that follow each other closely share one, as long as no mount changes. It does not stay for longer, since what
is unmounted meanwhile is busy until it goes.
"""

from __future__ import annotations

import ctypes
import os
from threading import Condition, Lock, Thread, current_thread
from typing import TYPE_CHECKING, Any, Final, TypeVar

from reconciler.host.base.mounts import MOUNTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

# <linux/sched.h>, <linux/mount.h>, <fcntl.h>, and the numbers that calls without a wrapper have on all machines
_CLONE_NEWNS: Final = 0x20000
_MS_PRIVATE_ALL: Final = 1 << 18 | 1 << 14
_MNT_DETACH: Final = 2
_OPEN_TREE, _MOVE_MOUNT = 428, 429
_OPEN_TREE_CLONE: Final = 1 | os.O_CLOEXEC
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOVE_MOUNT_F_EMPTY_PATH: Final = 4
_IDLE: Final = 1.0  # seconds until a namespace goes

_lock: Final = Lock()
_shared: list[_Beneath] = []  # the last one


def look_beneath(mounts: Sequence[str], look: Callable[[], T], kept: Sequence[str] = ()) -> T | None:
    """What `look` finds or raises where these mounts are taken away; None: this process may not take them away.

    What is `kept`, mounts on those, stays where it is. Where there are none, it looks here, which takes no privilege.
    It must import nothing meanwhile, since modules may lie in what is gone. All mounts are made private first, or
    those of the node itself would go.
    """
    if not mounts or any(it.thread is current_thread() for it in _shared):
        return look()
    with _lock:
        key = (tuple(mounts), tuple(kept), MOUNTS.read_bytes())
        last = _shared.pop() if _shared else None
        answer = last.ask(look) if last and last.key == key else None
        if answer is None or last is None:
            last = _Beneath(key)
            answer = last.ask(look)
        _shared.append(last)
    return answer() if answer else None


class _Beneath:
    """A thread in a namespace, which goes when it has not been asked for a while."""

    def __init__(self, key: tuple[tuple[str, ...], tuple[str, ...], bytes]) -> None:
        self.key = key
        self._changed = Condition()
        self._look: Callable[[], Any] | None = None
        self._answer: Callable[[], Any] | None = None
        self._is_alive = True
        self.thread = Thread(target=self._work, daemon=True)
        self.thread.start()

    def ask(self, look: Callable[[], T]) -> Callable[[], T] | None:
        """What gives or raises what was found; None: nobody is there who could look."""
        with self._changed:
            self._look, self._answer = look, None
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._look is None or not self._is_alive)
            return self._answer

    def _work(self) -> None:
        mounts, kept, _ = self.key
        is_beneath = _go_beneath(mounts, kept)
        with self._changed:
            while is_beneath and self._changed.wait_for(lambda: self._look is not None, _IDLE):
                self._answer = _outcome(self._look) if self._look else None
                self._look = None
                self._changed.notify_all()
            self._is_alive = False
            self._changed.notify_all()


def _outcome(look: Callable[[], T]) -> Callable[[], T]:
    try:
        found = look()
    except BaseException as error:  # noqa: BLE001 - raised in the thread that asked
        raised = error

        def fail() -> T:
            raise raised

        return fail
    return lambda: found


def _go_beneath(mounts: Sequence[str], kept: Sequence[str]) -> bool:
    libc = ctypes.CDLL(None)
    if libc.unshare(_CLONE_NEWNS) != 0 or libc.mount(None, b"/", None, _MS_PRIVATE_ALL, None) != 0:
        return False
    flags = _OPEN_TREE_CLONE | _AT_RECURSIVE
    trees = [(it, libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(it), flags)) for it in kept]
    is_beneath = _take_away(mounts, libc)
    for place, tree in trees:
        if tree >= 0:
            libc.syscall(_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(place), _MOVE_MOUNT_F_EMPTY_PATH)
            os.close(tree)
    return is_beneath


def _take_away(mounts: Sequence[str], libc: ctypes.CDLL) -> bool:
    """Whether all of them went: what one of them covers cannot go before it, and what lies in it goes with it."""
    left = list(mounts)
    while left:
        still = [it for it in left if libc.umount2(os.fsencode(it), _MNT_DETACH) != 0]
        if len(still) == len(left):
            return not any(map(os.path.ismount, left))
        left = still
    return True
