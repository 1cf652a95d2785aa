"""Verbs that are programs of `stages`: `inkflow predict` and `inkflow export`. Here is their wiring alone."""

from flows.arguments import Verbs
from stages.export import command as export_command
from stages.predict import command as predict_command


def register(verbs: Verbs) -> None:
    """Add the verbs to the `verbs` of a parser (what `add_subparsers` gives)."""
    verb = verbs.add_parser("predict", help="say which class images show")
    predict_command.add_arguments(verb)
    verb.set_defaults(do=predict_command.predict, anywhere=True)
    verb = verbs.add_parser("export", help="write a model as LiteRT or SavedModel")
    export_command.add_arguments(verb)
    verb.set_defaults(do=export_command.export_model, anywhere=True)
