"""How an extension is built and published."""
