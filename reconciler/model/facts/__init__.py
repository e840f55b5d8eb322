"""What is known of an extension without merging it."""
