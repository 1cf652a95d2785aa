"""The branch and the pull request of a retraining: what changed, how the models compare, and where it is pushed."""
