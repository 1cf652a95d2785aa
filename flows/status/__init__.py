"""Status: what is in use, what runs and waits, and what needs a person. Imports no Prefect."""
