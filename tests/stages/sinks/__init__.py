"""Tests of the optional sinks."""
