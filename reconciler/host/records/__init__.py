"""Small files that a run leaves for the next one."""
