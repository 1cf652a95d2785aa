"""What a run shares with `dvc` and other runs in the same folder: files in use, and the entries of dvc.lock."""
