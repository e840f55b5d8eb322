"""Questions about extensions that change nothing: what is in one, whose a file is, whether content is intact."""
