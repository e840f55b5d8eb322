"""Rules about extensions, and what they found."""
