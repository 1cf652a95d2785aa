"""The verbs of `inkflow`, in the order of `inkflow --help`.

A target is `module:function`. Arguments come from light modules, so that every `--help` answers at once; the module
that does the work is imported when the verb is called.
"""

import gc
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple


class Verb(NamedTuple):
    """One verb: its help, the target of its work, and that of its arguments, by default the function of its name."""

    help: str
    action: str  # action(arguments) -> exit code
    arguments: str = "flows.cli.arguments:{name}"  # arguments(parser)
    anywhere: bool = False  # works outside of a DVC project, in the caller's folder


VERBS = {
    "run": Verb("bring the stages up to date", "flows.cli.run:run"),
    "plan": Verb("what would run, be restored, or stay, and why", "flows.cli.plan:show_plan"),
    "sweep": Verb("try combinations of parameters, each as a DVC experiment", "flows.cli.sweep:sweep"),
    "verify": Verb("run stages again in a clean folder and compare the outputs", "flows.cli.verify:verify"),
    "predict": Verb(
        "say which class images show",
        "stages.predict.command:predict",
        "stages.predict.command:add_arguments",
        anywhere=True,
    ),
    "export": Verb(
        "write a model as LiteRT or SavedModel",
        "stages.export.command:export_model",
        "stages.export.command:add_arguments",
        anywhere=True,
    ),
    "report": Verb("the report with this machine's timings and the commit", "flows.cli.report:report"),
    "check": Verb("hold the models against the quality gates", "flows.cli.check:check"),
    "compare": Verb("two commits or experiments side by side", "flows.cli.compare:show_comparison"),
    "ci": Verb("the lanes of CI: check and run, and the comment on a pull request", "flows.cli.ci:ci"),
    "up": Verb("a Prefect server, pools, workers and deployments, until Ctrl-C", "flows.prefect_server.up:up"),
    "prune": Verb("free what old runs left: run cache, checkpoints, Prefect's records", "flows.cli.prune:prune"),
    "doctor": Verb("check this machine, and say how to fix what is missing", "flows.cli.doctor:doctor"),
    "completion": Verb("print a shell's completion script", "flows.cli.completion:completion", anywhere=True),
}


def add_arguments(name: str, parser: Any) -> None:
    """Give the `parser` of the verb `name` the verb's arguments."""
    _load(VERBS[name].arguments.format(name=name))(parser)


def call(name: str, arguments: Any) -> int:
    """Do the work of the verb `name`; the exit code."""
    return int(_load(VERBS[name].action)(arguments))


def _load(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    gc.disable()  # whole libraries are about to be loaded, and all of them stay: a tenth of the time
    try:
        function: Callable[..., Any] = getattr(import_module(module), name)
    finally:
        gc.enable()
    return function
