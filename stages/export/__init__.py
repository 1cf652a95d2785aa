"""`inkflow export`: writes a trained model as LiteRT or SavedModel."""
