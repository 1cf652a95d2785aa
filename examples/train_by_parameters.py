"""Trains one model with several values of a parameter, and keeps the best by its validation loss.

python examples/train_by_parameters.py MODEL KEY VALUE...
python examples/train_by_parameters.py dense epochs 2 5

What was trained before comes from the cache: a second call trains nothing.
"""

import json
import sys
from typing import Any

from inkflow.engine import InkflowError, Project


def read(value: str) -> Any:
    """Returns a value as params.yaml would read it: a number, a list, a text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def main(model: str, key: str, *values: str) -> None:
    """Trains `model` once for each value of its parameter `key`, and leaves the best one in params.yaml."""
    project = Project()
    losses: list[tuple[float, Any]] = []
    for value in map(read, values):
        settings = {f"models.{model}.{key}": value}
        run = project.run(f"train@{model}", settings=settings)
        training = json.loads((project.root / "models" / model / "training.json").read_text())
        losses.append((training["validation"]["loss"], value))
        print(f"{key} {value}: validation loss {losses[-1][0]:.4f} ({run.summary})", flush=True)
    _, best = min(losses, key=lambda entry: entry[0])
    project.run(f"evaluate@{model}", settings={f"models.{model}.{key}": best})
    metrics = json.loads((project.root / "evaluation" / model / "metrics.json").read_text())
    print(f"kept {key} {best}: test accuracy {metrics['accuracy']:.4f}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: python examples/train_by_parameters.py MODEL KEY VALUE...")
    try:
        main(*sys.argv[1:])
    except InkflowError as error:
        sys.exit(f"error: {error}")
