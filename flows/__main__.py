"""`python -m flows`: the `inkflow` command where it is not installed."""

from flows.cli.main import console

console()
