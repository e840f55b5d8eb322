"""What goes wrong around a node, produced for real."""
