"""Hundreds of runs of one deployment in a row, and what server, worker and project use after each of them."""
