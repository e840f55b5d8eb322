"""Image files: made."""
