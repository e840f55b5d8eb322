"""Start programs in turn and tell what each took; a program of its own, so that it can run inside a namespace.

On stdin: {"rounds": N, "warm_up": N, "commands": {NAME: [PROGRAM, ARGUMENT...]}}
On stdout: {NAME: {"times": [SECONDS...], "cpu": [SECONDS...]}}
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Final

ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
_SILENT: Final = [
    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
    (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
]


def measure(command: list[str]) -> tuple[float, float]:
    """Elapsed and CPU time of one start, children included; it must succeed."""
    begun = time.perf_counter()
    process = os.posix_spawn(command[0], command, ENVIRONMENT, file_actions=_SILENT)
    _, status, usage = os.wait4(process, 0)
    elapsed = time.perf_counter() - begun
    if status:
        sys.exit(f"{' '.join(command)}: status {os.waitstatus_to_exitcode(status)}")
    return elapsed, usage.ru_utime + usage.ru_stime


def main() -> None:
    """Each round starts every program once, each time another one first: what disturbs one disturbs all."""
    asked = json.load(sys.stdin)
    names = list(asked["commands"])
    found: dict[str, dict[str, list[float]]] = {name: {"times": [], "cpu": []} for name in names}
    for turn in range(-asked["warm_up"], asked["rounds"]):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            elapsed, cpu = measure(asked["commands"][name])
            if turn >= 0:
                found[name]["times"].append(elapsed)
                found[name]["cpu"].append(cpu)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
