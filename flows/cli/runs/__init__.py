"""`inkflow report --runs`: one page over commits, branches, tags and experiments."""
