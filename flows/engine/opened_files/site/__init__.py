"""The folder that the Python processes of stages find first: its `sitecustomize` notes the files that they open."""
