"""The environment as an input of stages: what of it counts, where it is recorded, and what differs."""
