"""`inkflow monitor`: shows whether a model is still asked what it has learned, as table, picture or JSON."""
