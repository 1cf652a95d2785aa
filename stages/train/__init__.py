"""Stage `train`: trains one model and writes its Keras and ONNX files, its history and a summary of the training."""
