"""Whether this machine can attach image files as block devices, and check them with dm-verity."""

from __future__ import annotations

import fcntl
import os
from typing import Final

_CONTROL: Final = "/dev/loop-control"
_MAPPER: Final = "/dev/mapper/control"
_GET_FREE: Final = 0x4C82  # LOOP_CTL_GET_FREE of linux/loop.h: the number of a free device, made if need be


def loop_devices_available() -> bool:
    """Whether there is a free loop device and it may be opened."""
    try:
        control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        number = fcntl.ioctl(control, _GET_FREE)
        os.close(os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    finally:
        os.close(control)
    return True


def device_mapper_available() -> bool:
    """Whether the kernel has device-mapper, without which no image with verity is set up.

    To open its device node loads the module where that is not loaded yet (modprobe(8)); the node proves nothing.
    """
    try:
        os.close(os.open(_MAPPER, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True
