"""`inkflow monitor`: compares a model's inputs with its training data (drift), as table, picture or JSON."""
