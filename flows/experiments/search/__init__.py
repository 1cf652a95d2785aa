"""Searches: Optuna proposes the combinations of a sweep, one after another, from the results of those before."""
