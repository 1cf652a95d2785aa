"""The `inkflow` command: a table of its verbs, their arguments, and for each verb a module that runs it."""
