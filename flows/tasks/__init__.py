"""Provides the Prefect building blocks of the flows: tasks of stages, final states, artifacts, progress, gates."""
