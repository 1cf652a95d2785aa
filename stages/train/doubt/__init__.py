"""Measures the doubt of a trained network: its temperature, the unlikeness of images, and the thresholds of both."""
