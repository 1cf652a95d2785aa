"""Edits of files that people write: values and lists in YAML; comments, ends of lines and links are kept."""
