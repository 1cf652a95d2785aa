"""What is secret: in the environment of this process."""
