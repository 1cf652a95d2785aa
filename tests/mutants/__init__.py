"""Mutation testing: changes a decision in the code, and looks whether a test notices. `make mutants` is its command."""
