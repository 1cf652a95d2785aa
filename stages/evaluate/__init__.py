"""Stage `evaluate`: evaluates an exported model on the raw test images."""
