"""`python -m flows`: the `inkflow` command where it is not installed."""

from flows.cli import console

console()
