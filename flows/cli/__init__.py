"""The `inkflow` command: a table of verbs, their arguments, and for each verb a module with its words for people."""
