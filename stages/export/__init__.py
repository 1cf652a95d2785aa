"""`inkflow export`: a trained model as LiteRT or SavedModel."""
