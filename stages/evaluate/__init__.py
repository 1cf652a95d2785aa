"""Stage `evaluate`: examines an exported model on the raw test images."""
