"""Models as parameters: kinds of network, tasks, losses, and which of them go together. Trains nothing."""
