"""An HTTP server for one model: a page to draw on, pictures, the Open Inference Protocol, and metrics."""
