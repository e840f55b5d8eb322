"""A look at what mounts cover, by a thread in a mount namespace of its own: unshare(2), which Python 3.11 lacks."""

from __future__ import annotations

import ctypes
import os
from threading import Thread
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

# <linux/sched.h>, <linux/mount.h>
_CLONE_NEWNS: Final = 0x20000
_MS_PRIVATE_ALL: Final = 1 << 18 | 1 << 14
_MNT_DETACH: Final = 2


def look_beneath(mounts: Sequence[str], look: Callable[[], T]) -> T | None:
    """What `look` finds where these mounts are taken away, for it alone; None: this process may not take them away.

    Where there are none, it looks here, which takes no privilege.

    It must import nothing meanwhile, since modules may lie in what is gone. All mounts are made private first, or
    those of the node itself would go.
    """
    if not mounts:
        return look()
    found: list[T] = []
    thread = Thread(target=lambda: found.extend(_seen(mounts, look)))
    thread.start()
    thread.join()
    return found[0] if found else None


def _seen(mounts: Sequence[str], look: Callable[[], T]) -> tuple[T, ...]:
    libc = ctypes.CDLL(None)
    is_alone = libc.unshare(_CLONE_NEWNS) == 0 and libc.mount(None, b"/", None, _MS_PRIVATE_ALL, None) == 0
    return (look(),) if is_alone and _take_away(mounts, libc) else ()


def _take_away(mounts: Sequence[str], libc: ctypes.CDLL) -> bool:
    """Whether all of them went: what one of them covers cannot go before it, and what lies in it goes with it."""
    left = list(mounts)
    while left:
        still = [it for it in left if libc.umount2(os.fsencode(it), _MNT_DETACH) != 0]
        if len(still) == len(left):
            return not any(map(os.path.ismount, left))
        left = still
    return True
