"""Optional sinks of a training's history, MLflow and TensorBoard, as a process that follows a stage."""
