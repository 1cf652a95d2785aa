"""Adds the arguments of `inkflow plots` to its parser. Imports nothing, so that `--help` is fast."""

import argparse


def plots(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow plots`: none."""
    verb.description = (
        "Write a page template with Vega inside to .dvc/tmp, and name it in .dvc/config.local: the pages of `dvc plots "
        "show` and `dvc plots diff` then need no network. `inkflow init` and `make setup` do the same."
    )
