"""The content of an extension that is built."""
