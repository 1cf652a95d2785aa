"""A remote of DVC: its results, its reachability, its key, and the transfer of one stage's files."""
