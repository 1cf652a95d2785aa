"""What `inkflow init` finds in a folder, and the files that it adds."""
