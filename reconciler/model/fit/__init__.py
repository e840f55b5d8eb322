"""Which extension fits which host."""
