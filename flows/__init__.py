"""Orchestration: decides when and where the stages of DVC's graph run. Computes no numbers and reads no images."""
