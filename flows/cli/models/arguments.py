"""Arguments of `inkflow promote`, `rollback`, `models` and `trace`."""

import argparse


def promote(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow promote` to `verb`."""
    verb.description = """Register MODEL at the commit that is checked out as a version, and give it STAGE.

The working tree has to be committed and up to date, the model's quality gates have to pass, and the model must not be
worse than the version that holds the stage, on the same test images. Versions and registry stages are tags in the form
of GTO.
"""
    verb.add_argument("model", metavar="MODEL", help="name of an artifact in dvc.yaml")
    verb.add_argument("stage", metavar="STAGE", help="registry stage, such as prod")
    verb.add_argument("--version", metavar="V", help="such as v1.0.0 (default: the next patch)")
    verb.add_argument("--force", metavar="REASON", help="promote a model that failed; the reason is recorded")
    _add_registry_output(verb)


def rollback(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow rollback` to `verb`."""
    verb.description = """Move the registry stage STAGE back to the version of the model that held it before.

A second call moves it to the version before that one. The tags of the later version stay.
"""
    verb.add_argument("stage", metavar="STAGE", help="registry stage, such as prod")
    verb.add_argument("--model", metavar="MODEL", help="needed if several models hold the stage")
    _add_registry_output(verb)


def models(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow models` to `verb`."""
    verb.description = """Show each registered version: registry stages, test score, commit, data, date, author."""
    verb.add_argument("model", metavar="MODEL", nargs="?", help="show the versions of this model only")
    verb.add_argument("--json", action="store_true", help="print JSON")


def trace(verb: argparse.ArgumentParser) -> None:
    """Adds the arguments of `inkflow trace` to `verb`."""
    verb.description = """Show where a model came from: version, commit, parameters, hashes of data and code, and the
machine and packages of its training. It searches the registry, and the models that dvc.lock names in the last 1,000
commits.
"""
    verb.add_argument("sha", metavar="SHA", help="SHA-256 of a model's ONNX file, or its first digits")
    verb.add_argument("--json", action="store_true", help="print JSON")


def _add_registry_output(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--push", action="store_true", help="push the files to the DVC remote, then the tags to Git's")
    verb.add_argument("--json", action="store_true", help="print JSON")
