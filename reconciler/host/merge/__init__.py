"""The search directories and the merged overlay."""
