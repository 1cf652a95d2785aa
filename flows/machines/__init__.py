"""`inkflow verify --against`: compares recorded results with another machine's `dvc.lock`, and says why they differ."""
