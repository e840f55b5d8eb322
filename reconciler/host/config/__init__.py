"""The files of the configuration."""
