"""Trained models behind one interface, whether they predict classes or values, and their comparison in pairs."""
