"""Python programs that stages run: their commands, the project files that they import, changes without effect."""
