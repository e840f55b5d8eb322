"""Threads for work that waits for the network, disks and programs, and that end when the main thread is to end."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reconciler.host.base import command, termination

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def workers(count: int) -> Iterator[Executor]:
    """An executor for the time of the context; when that ends by an exception, all work ends at once.

    Signals interrupt the main thread alone, so programs that workers wait for are killed here, and what takes long
    without a program asks `termination.check`.
    """
    pool = ThreadPoolExecutor(count, thread_name_prefix="worker")
    try:
        yield pool
    except BaseException:
        end_all()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        termination.withdraw()


def end_all() -> None:
    """Ask all work to end, for the end of its `workers`."""
    termination.request()
    command.kill_running()
