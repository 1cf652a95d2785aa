"""Models as parameters: kinds of networks, tasks, losses, and their compatibility. Trains nothing."""
