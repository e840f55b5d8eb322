"""Whether image files that are made here can be merged on this node."""

from __future__ import annotations
