"""What every program of `stages` uses: errors, files, sections of params.yaml. Imports no other room."""
