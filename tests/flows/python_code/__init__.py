"""Tests of flows.python_code."""
