"""`inkflow promote`, `rollback`, `models` and `trace`: the registry of models on the command line."""

import argparse
from pathlib import Path
from typing import Any

from flows.cli.output import print_json, shown
from flows.core.redaction import say
from flows.registry import promotion
from flows.registry.provenance import Provenance, trace_model
from flows.registry.tags import ModelVersion, Registry
from stages.base.errors import EXIT_DONE


def promote(arguments: argparse.Namespace) -> int:
    """Registers a model and gives it a stage; returns the exit code."""
    done = promotion.promote(
        Path(), arguments.model, arguments.stage, version=arguments.version, force=arguments.force, push=arguments.push
    )
    return _print_promotion(done, arguments.json)


def rollback(arguments: argparse.Namespace) -> int:
    """Gives a stage back to the version that held it before; returns the exit code."""
    done = promotion.roll_back(Path(), arguments.model, arguments.stage, push=arguments.push)
    code = _print_promotion(done, arguments.json)
    promotion.finish_rollback(Path(), done.model, done.stage)
    return code


def models(arguments: argparse.Namespace) -> int:
    """Prints the versions of the project's models; returns the exit code."""
    versions = Registry(Path()).versions(arguments.model)
    if arguments.json:
        print_json({"versions": [_version(item) for item in versions]})
    elif versions:
        _print_versions(versions)
    else:
        say("no version is registered: `inkflow promote MODEL STAGE` registers the first")
    return EXIT_DONE


def trace(arguments: argparse.Namespace) -> int:
    """Prints where a model came from; returns the exit code."""
    found = trace_model(Path(), arguments.sha)
    if arguments.json:
        print_json(found.as_json())
    else:
        _print_provenance(found)
    return EXIT_DONE


def _print_promotion(done: promotion.Promotion, json: bool) -> int:
    if json:
        print_json(done.as_json())
        return EXIT_DONE
    before = f" in place of {done.before}" if done.before else ""
    say(f"{done.model} {done.version} is in {done.stage}{before}")
    for key in ("Gates", "Compared", "Forced"):
        if key in done.facts:
            say(f"  {key.lower()}: {done.facts[key]}")
    if not done.pushed:
        say("  the tags are only here: push them, and the files, with --push")
    return EXIT_DONE


def _version(item: ModelVersion) -> dict[str, Any]:
    return {
        "model": item.model,
        "version": item.version,
        "stages": list(item.stages),
        "commit": item.commit,
        "created_at": item.created_at.isoformat(),
        "author": item.author,
        "sha256": item.trailers.get("Model-SHA256"),
        "data": item.trailers.get("Data"),
        "scores": item.scores,
        "gates": item.trailers.get("Gates"),
        "compared": item.trailers.get("Compared"),
        "forced": item.trailers.get("Forced"),
    }


def _print_versions(versions: list[ModelVersion]) -> None:
    from rich.table import Table

    from flows.engine.display.safe_console import SafeConsole  # late: --json needs no table

    table = Table("model", "version", "stage", "test score", "commit", "data", "when", "who", box=None, pad_edge=False)
    for item in versions:
        data = item.trailers.get("Data", "").rpartition(" ")[2]
        when = f"{item.created_at:%Y-%m-%d %H:%M} UTC"
        cells = (_score(item.scores), item.commit[:7], data[:7], when, item.author.partition(" <")[0])
        table.add_row(shown(item.model), item.version, shown(", ".join(item.stages), "green"), *map(shown, cells))
    SafeConsole().print(table)


def _score(scores: dict[str, float]) -> str:
    """Returns the test accuracy, or the mean absolute error (MAE) of a regression, with its interval."""
    for name, value in scores.items():
        if f"{name}_low" in scores:
            unit = "MAE " if name == "mean_absolute_error" else ""
            return f"{unit}{value:.4f} ({scores[f'{name}_low']:.4f} to {scores[f'{name}_high']:.4f})"
    return ""


def _print_provenance(found: Provenance) -> None:
    from rich.table import Table

    from flows.engine.display.safe_console import SafeConsole  # late: --json needs no table

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in found.rows():
        table.add_row(shown(key, "bold"), shown(value))
    SafeConsole().print(table)
