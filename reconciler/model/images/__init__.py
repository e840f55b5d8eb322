"""What an image file is, by its bytes."""
