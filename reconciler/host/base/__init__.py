"""Programs, threads, signals, and files that survive a power cut."""
