"""Every line, table and JSON document that a person or a script reads."""
