"""`python -m reconciler` is `livelayer`."""

from reconciler.cli import main

main()
