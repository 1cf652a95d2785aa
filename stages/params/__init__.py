"""The whole schema of params.yaml, assembled from the rooms' sections, and what is generated from it."""
