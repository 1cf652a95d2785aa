"""The code that stages depend on: its facts in DVC's graph, its earlier content, and changes without effect."""
