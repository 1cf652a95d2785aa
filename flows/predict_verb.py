"""Verbs that are programs of `stages`: `inkflow predict` and `inkflow export`. Here is their wiring alone."""

from flows.arguments import Verbs
from stages import export_model, predict


def register(verbs: Verbs) -> None:
    """Add the verbs to the `verbs` of a parser (what `add_subparsers` gives)."""
    verb = verbs.add_parser("predict", help="say which class images show")
    predict.add_arguments(verb)
    verb.set_defaults(do=predict.predict, anywhere=True)
    verb = verbs.add_parser("export", help="write a model as LiteRT or SavedModel")
    export_model.add_arguments(verb)
    verb.set_defaults(do=export_model.export_model, anywhere=True)
