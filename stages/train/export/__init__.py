"""Writes the trained network as Keras and ONNX files; equal weights give equal bytes."""
