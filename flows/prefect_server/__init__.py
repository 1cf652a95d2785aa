"""Prefect's server: the temporary server of a run, and the processes of `inkflow up`."""
