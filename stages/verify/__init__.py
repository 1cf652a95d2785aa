"""`inkflow verify`: files that should be the same, compared by bytes and by values."""
