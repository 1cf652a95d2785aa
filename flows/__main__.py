"""`python -m flows`: runs the `inkflow` command without an installation."""

from flows.cli.main import console

console()
