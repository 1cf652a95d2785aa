"""The whole schema of params.yaml, assembled from the sections of the rooms, and the files generated from it."""
