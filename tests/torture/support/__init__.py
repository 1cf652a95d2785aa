"""Helpers of the tests that try promises by force."""
