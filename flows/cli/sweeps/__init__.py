"""`inkflow sweep`: its arguments, grids, and searches."""
