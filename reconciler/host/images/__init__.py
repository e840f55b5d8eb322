"""Image files: looked into and listed."""
