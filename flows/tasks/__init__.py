"""What flows are made of in Prefect: a task for a stage, states, artifacts, progress, gates."""
