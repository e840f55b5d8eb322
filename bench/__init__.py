"""Benchmarks: what livelayer costs beside what the same job costs without it."""
