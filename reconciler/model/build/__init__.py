"""What an extension that is built shall be."""
