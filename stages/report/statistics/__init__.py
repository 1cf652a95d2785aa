"""Intervals, paired tests and scores, computed with SciPy, statsmodels and scikit-learn; reads no files."""
