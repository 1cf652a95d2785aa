"""Plans and runs a DVC project from Python, prints the events, and shows the metrics.

python examples/use_engine.py FOLDER [STAGE...]
"""

import sys

from inkflow.engine import Event, InkflowError, Kind, Project, Verdict


def show(event: Event) -> None:
    """Prints one event of a run; other programs would send it, store it, or draw it."""
    if event.kind is not Kind.STARTED:
        print(f"{event.kind:>8} {event.stage:<16} {event.text}")


def main(folder: str = ".", *stages: str) -> None:
    """Brings the stages of the project in `folder` up to date."""
    project = Project(folder)
    work = [decision for decision in project.plan(*stages) if decision.verdict is not Verdict.UNCHANGED]
    for decision in work:
        print(f"{decision.stage}: {decision.verdict}, because {', '.join(decision.reasons)}")
    run = project.run(*stages, on_event=show)
    print(run.summary)
    for path, values in project.metrics().items():
        print(f"{path}: {values}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except InkflowError as error:
        sys.exit(f"error: {error}")
