"""Displays the events of a run on the terminal: as plain lines, or with a progress bar for each running stage."""
