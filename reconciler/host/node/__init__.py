"""What this machine is, and its units."""
