"""Runs a graph of stages: schedule, processes, display. Knows neither DVC nor Prefect; a repository is given to it."""
