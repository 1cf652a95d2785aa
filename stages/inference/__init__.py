"""Runs exported models with ONNX Runtime and validates their outputs."""
