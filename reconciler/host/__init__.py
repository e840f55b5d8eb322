"""Effects on this machine, in rooms by what they touch."""
