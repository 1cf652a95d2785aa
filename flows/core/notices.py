"""The words that nobody may miss when a run is not on the data that was asked for."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loading the schema takes an eighth of a second: not for a project that has none
    from stages.params.schema import Params


def fallback_notice(wanted: str, fallback: str) -> str:
    """Said when `wanted` could not be had and `fallback` takes its place."""
    return (
        f"{wanted} CANNOT BE HAD HERE, for the reason above. Going on with {fallback}.\n"
        f"params.yaml now says so; go back with: inkflow run --dataset {wanted}"
    )


def stand_in_notice(params: "Params | None") -> str | None:
    """Said at the start and at the end of every run on a data set that only stands in for another."""
    if params is None or params.chosen.stand_in_for is None:
        return None
    wanted = params.chosen.stand_in_for
    return (
        f"THIS RUN IS ON {params.dataset}, NOT ON {wanted}: its figures say nothing of {wanted}.\n"
        f"For the real one: inkflow run --dataset {wanted}"
    )
