"""Stage `train`: trains one model and writes what ships: Keras and ONNX files, history, facts."""
