"""Orchestration: when and where the stages of DVC's graph run. Knows nothing of numbers and pictures."""
