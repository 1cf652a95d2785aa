"""The verbs of `inkflow`, in the order of `inkflow --help`.

A target is `module:function`. The functions that add arguments are in light modules, so that every `--help` is fast;
the module that runs the verb is imported when the verb is called.
"""

import gc
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from flows.registry.address import model_folder


class Verb(NamedTuple):
    """One verb: its help text, and the targets that run it and add its arguments."""

    help: str
    action: str  # action(arguments) -> exit code
    arguments: str = "flows.cli.arguments:{name}"  # arguments(parser); `{name}` is the verb
    anywhere: bool = False  # True if it runs in the caller's folder, which need not be in a DVC project
    uses_model: bool = False  # True if its argument `model` may be a registered one: MODEL@STAGE, MODEL@VERSION


VERBS = {
    "init": Verb("add what is missing to a DVC project, or make a small one", "flows.cli.init:init", anywhere=True),
    "run": Verb("bring the stages up to date", "flows.cli.run:run"),
    "plan": Verb("show which stages would run, be restored or stay unchanged, and why", "flows.cli.plan:show_plan"),
    "deps": Verb("compare the code that stages declare in dvc.yaml with what they import", "flows.cli.deps:deps"),
    "sweep": Verb(
        "run combinations of parameters, each as a DVC experiment",
        "flows.cli.sweeps.sweep:sweep",
        "flows.cli.sweeps.arguments:sweep",
    ),
    "verify": Verb(
        "run stages again in a clean folder, or take another machine's dvc.lock, and compare the outputs",
        "flows.cli.verify:verify",
        "flows.cli.verification.arguments:verify",
    ),
    "predict": Verb(
        "classify images with a trained model",
        "stages.predict.command:predict",
        "stages.predict.command:add_arguments",
        anywhere=True,
        uses_model=True,
    ),
    "data": Verb("add your own data as a data set", "flows.cli.data:data", "stages.own_data.arguments:add_arguments"),
    "export": Verb(
        "write a model as LiteRT or SavedModel",
        "stages.export.command:export_model",
        "stages.export.command:add_arguments",
        anywhere=True,
        uses_model=True,
    ),
    "report": Verb("write the report with the timings of this machine and the commit", "flows.cli.report:report"),
    "plots": Verb(
        "make the pages of `dvc plots` work without a network",
        "flows.cli.adoption.plots:plots",
        "flows.cli.adoption.arguments:plots",
    ),
    "check": Verb("check the models against the quality gates", "flows.cli.check:check"),
    "compare": Verb("compare two commits or experiments", "flows.cli.compare:show_comparison"),
    "serve": Verb(
        "serve a model over HTTP: a page to draw on, and an interface for programs",
        "flows.cli.models.serve:serve",
        "stages.serve.command:add_arguments",
        anywhere=True,
    ),
    "monitor": Verb(
        "compare a model's inputs with its training data (drift)",
        "stages.monitor.command:monitor",
        "stages.monitor.command:add_arguments",
        anywhere=True,
        uses_model=True,
    ),
    "promote": Verb(
        "register a model as a version, and give it a registry stage such as prod",
        "flows.cli.models.registry:promote",
        "flows.cli.models.arguments:promote",
    ),
    "rollback": Verb(
        "move a registry stage such as prod back to its previous version",
        "flows.cli.models.registry:rollback",
        "flows.cli.models.arguments:rollback",
    ),
    "models": Verb(
        "show the registered versions of the models",
        "flows.cli.models.registry:models",
        "flows.cli.models.arguments:models",
    ),
    "trace": Verb(
        "show where a model came from, by the SHA-256 of its file",
        "flows.cli.models.registry:trace",
        "flows.cli.models.arguments:trace",
    ),
    "ci": Verb("run a lane of CI: check, run, comment on a pull request, promote after its merge", "flows.cli.ci:ci"),
    "up": Verb("start a Prefect server, pools, workers and deployments, until Ctrl-C", "flows.prefect_server.up:up"),
    "status": Verb(
        "show what is in use, what runs and waits, and what needs a person",
        "flows.cli.status:status",
        "flows.cli.status:add_arguments",
    ),
    "prune": Verb("remove the files of old runs: run cache, checkpoints, Prefect's records", "flows.cli.prune:prune"),
    "doctor": Verb("check this machine, and show how to fix problems", "flows.cli.doctor:doctor"),
    "completion": Verb("print the completion script of a shell", "flows.cli.completion:completion", anywhere=True),
}


def add_arguments(name: str, parser: Any) -> None:
    """Adds the arguments of the verb `name` to its `parser`."""
    _load(VERBS[name].arguments.format(name=name))(parser)


def call(name: str, arguments: Any) -> int:
    """Runs the verb `name` and returns its exit code."""
    if VERBS[name].uses_model and arguments.model is not None:
        arguments.model = model_folder(arguments.model)
    return int(_load(VERBS[name].action)(arguments))


def _load(target: str) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    gc.disable()  # the import creates many objects that all stay alive: without collections it is 10 % faster
    try:
        function: Callable[..., Any] = getattr(import_module(module), name)
    finally:
        gc.enable()
    return function
