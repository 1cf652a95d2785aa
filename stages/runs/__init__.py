"""`inkflow report --runs`: a page over all versions of a project, from the facts that `flows` collected."""
