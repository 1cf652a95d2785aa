"""Verbs about registered models: versions and stages, their origin, and the server of a model."""
