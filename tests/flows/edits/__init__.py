"""Tests of the rooms flows.edits."""
