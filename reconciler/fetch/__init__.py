"""From a source to its content, and from content to an entry of the store."""
