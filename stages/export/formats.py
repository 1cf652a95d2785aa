"""The formats that a model can be exported to, and the name of each file or folder beside model.onnx."""

FORMATS = {"litert": "model.tflite", "saved_model": "saved_model"}
