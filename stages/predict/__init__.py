"""`inkflow predict` and the batch job `score`: classify image files with an exported model."""
