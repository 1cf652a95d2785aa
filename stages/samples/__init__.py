"""Samples as network inputs: pixel range, crop, random order, and the arrays that the stage `prepare` writes."""
