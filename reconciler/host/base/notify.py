"""sd_notify(3): tell systemd how a service is doing; silent where nobody listens."""

from __future__ import annotations

import os
import socket

from reconciler.errors import printable


def notify(**fields: str) -> None:
    """Send assignments such as READY="1" or STATUS="..."; without NOTIFY_SOCKET this does nothing.

    A line break in a value would be the end of it, and what follows another assignment.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    message = "\n".join(f"{key}={printable(value)}" for key, value in fields.items()).encode()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.sendto(message, address)
        except OSError:
            return  # systemd is going down or gave up on us; there is nobody to tell


def watchdog_interval() -> float | None:
    """Seconds between signs of life: half of what systemd waits (sd_watchdog_enabled(3)); None: it does not wait."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    addressee = os.environ.get("WATCHDOG_PID", str(os.getpid()))
    if not microseconds.isdigit() or addressee != str(os.getpid()):
        return None
    return int(microseconds) / 2_000_000
