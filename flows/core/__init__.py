"""Code that all rooms of `flows` share: errors, git, redaction, edits of params.yaml, locks. No DVC, no Prefect."""
