"""Watches what a model is asked: compares it with the reference of its training, at a stated rate of false alarms."""
