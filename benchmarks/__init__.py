"""Benchmarks: each program measures both sides of a comparison and prints JSON lines."""
