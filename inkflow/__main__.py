"""`python -m inkflow`, and the console script: runs the `inkflow` command."""

from flows.cli.main import console

if __name__ == "__main__":
    console()
