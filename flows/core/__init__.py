"""What all rooms of `flows` share: errors, redaction, edits of params.yaml, locks. Knows neither DVC nor Prefect."""
