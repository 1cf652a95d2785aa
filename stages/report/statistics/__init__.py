"""Intervals, tests and scores, worked out by SciPy, statsmodels and scikit-learn. Knows no files and no models."""
