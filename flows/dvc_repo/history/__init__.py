"""Versions of the project, read from git and DVC's cache: facts about many at once, and the files of one."""
