"""dvc.lock: its text, divided into entries, and the writer of entries."""
