"""`inkflow predict` and the batch job `score`: image files of any origin, classified by an exported model."""
