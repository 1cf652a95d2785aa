"""Shared by every program of `stages`: errors, file output, sections of params.yaml. Imports no other room."""
