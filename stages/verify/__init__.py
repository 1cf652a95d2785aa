"""`inkflow verify`: compares files that should be equal, by bytes and by values."""
