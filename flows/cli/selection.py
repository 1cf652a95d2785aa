"""The stages that the arguments of `inkflow run` and `inkflow plan` ask for."""

import argparse

from flows.dvc_repo.repository import Repository
from flows.engine.types import Scope


def selection(arguments: argparse.Namespace, repository: Repository) -> tuple[list[str], Scope]:
    """Returns the names of the targets, none for all stages, and the scope in which stages are brought up to date.

    Raises:
        UnknownStage: no stage has one of the addresses.
    """
    targets = repository.resolve(arguments.stages, arguments.folder, glob=arguments.glob, recursive=arguments.recursive)
    scope = Scope.DOWNSTREAM if arguments.downstream else Scope.SINGLE if arguments.single_item else Scope.UPSTREAM
    return targets, scope
