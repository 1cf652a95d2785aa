"""Starts the processes of stages, forks them from processes that have imported their modules, and terminates them."""
