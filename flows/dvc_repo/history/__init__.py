"""Facts about many versions at once, read from git's objects and DVC's cache: commits, branches, experiments."""
