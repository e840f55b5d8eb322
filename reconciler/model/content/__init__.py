"""Sources, images, versions and formats, as words."""
