"""Tests of the room flows.edits."""
