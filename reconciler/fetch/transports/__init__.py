"""The ways to content: what each looks up, what it keeps, and how it opens it."""
