"""Data sets as downloaded: four arrays in an npz file, read safely, checked, described. Uses no network."""
