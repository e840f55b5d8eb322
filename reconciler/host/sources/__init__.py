"""Content that no registry has: downloads, files of this node, packages."""
