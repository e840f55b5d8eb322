"""livelayer: a declarative reconciler for systemd system extensions."""

__version__ = "0.1.0"
