"""Whether this machine can attach image files as block devices, and check them with dm-verity."""

from __future__ import annotations

import fcntl
import os
from typing import Final

_GET_FREE: Final = 0x4C82  # LOOP_CTL_GET_FREE of linux/loop.h: the number of a free device, made if need be


def loop_devices_available() -> bool:
    """Whether there is a free loop device and it may be opened."""
    try:
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return _opens(f"/dev/loop{fcntl.ioctl(control, _GET_FREE)}")
    except OSError:
        return False
    finally:
        os.close(control)


def device_mapper_available() -> bool:
    """Whether the kernel has device-mapper, without which no image with verity is set up.

    To open its device node loads the module where that is not loaded yet (modprobe(8)); the node proves nothing.
    """
    return _opens("/dev/mapper/control")


def _opens(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True
