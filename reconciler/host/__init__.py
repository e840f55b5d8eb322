"""Effects: one module per tool or kernel facility."""
