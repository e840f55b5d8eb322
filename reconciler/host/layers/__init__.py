"""The layers of an image, made one tree."""
