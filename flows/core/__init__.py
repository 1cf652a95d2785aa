"""Code that all rooms of `flows` share: errors, git, redaction, params.yaml, locks. No DVC, no Prefect."""
