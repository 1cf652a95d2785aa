"""What a training ships: the network as Keras and as ONNX files, equal weights as equal bytes."""
