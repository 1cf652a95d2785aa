"""The only room that imports DVC: facts, cache, lock file, locking, remotes, experiments, garbage collection."""
