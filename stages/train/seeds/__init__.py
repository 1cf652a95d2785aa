"""Trainings of one model with several seeds: which are kept, which run, and which one is exported."""
