"""Runs a graph of stages: plan, schedule, processes, display. Imports neither DVC nor Prefect; gets its repository."""
