"""Tar archives and compressed blobs, as streams."""
