"""Data sets as they come: four arrays in an npz file, read with care, checked, described. Knows no network."""
