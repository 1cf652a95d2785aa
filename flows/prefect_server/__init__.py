"""Prefect's server: the temporary one of a run, and all that `inkflow up` starts and keeps up."""
