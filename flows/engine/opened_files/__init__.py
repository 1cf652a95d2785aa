"""Notices files that the Python processes of a stage read and that are not among its dependencies."""
