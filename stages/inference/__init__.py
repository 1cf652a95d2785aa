"""An exported model at work: ONNX Runtime on pixels, whoever made the model; nothing it says goes unchecked."""
