"""Samples as networks read them: range of pixels, crop, random order, and the arrays that `prepare` writes."""
