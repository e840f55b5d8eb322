"""The main job on an embedded default, in a private mount namespace: `make demo`."""
