"""`python -m bench [NAME...]`: run all benchmarks, or those named, as root, and print one table."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final

from bench import activation, build, edit_to_merged, noop, unpack, verify
from bench.figures import table

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.figures import Row

_BENCHMARKS: Final[dict[str, Callable[[], list[Row]]]] = {
    "noop": noop.run,
    "edit-to-merged": edit_to_merged.run,
    "activation": activation.run,
    "unpack": unpack.run,
    "build": build.run,
    "verify": verify.run,
}
_QUIET: Final = 0.5  # load average below which figures are worth to be kept


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(_BENCHMARKS)} (default: all)")
    names = parser.parse_args().names or list(_BENCHMARKS)
    if unknown := set(names) - _BENCHMARKS.keys():
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    if os.geteuid() != 0:
        sys.exit("the benchmarks need root: they merge with the real systemd-sysext, in namespaces and nodes")
    load = os.getloadavg()[0]
    rows = [row for name in names for row in _BENCHMARKS[name]()]
    print(f"milliseconds; {os.cpu_count()} cores, load {load:.2f} at the beginning")
    if load > _QUIET:
        print(f"the machine was busy: repeat this at a load below {_QUIET}")
    print(table(rows))


main()
