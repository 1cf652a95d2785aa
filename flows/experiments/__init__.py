"""Combinations of parameters, each run in a clone of the project and recorded as a DVC experiment."""
