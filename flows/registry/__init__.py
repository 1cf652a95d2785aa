"""The registry of models: versions and stages as tags of Git, in the form of GTO."""
