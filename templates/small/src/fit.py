"""Stage `fit`: fits a polynomial by gradient descent, and writes its coefficients and its validation loss."""

import argparse
import csv
import json
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--data", type=Path)
parser.add_argument("--degree", type=int)
parser.add_argument("--epochs", type=int)
parser.add_argument("--rate", type=float)
parser.add_argument("--out", type=Path)
given = parser.parse_args()

points: dict[str, list[tuple[float, float]]] = {"train": [], "validation": []}
with given.data.open(newline="") as file:
    for row in csv.DictReader(file):
        points[row["part"]].append((float(row["x"]), float(row["y"])))
coefficients = [0.0] * (given.degree + 1)


def errors(part: str) -> list[tuple[float, float]]:
    """Returns x and the error of the polynomial at each point."""
    return [(x, sum(c * x**power for power, c in enumerate(coefficients)) - y) for x, y in points[part]]


for _ in range(given.epochs):
    found = errors("train")
    for power in range(len(coefficients)):
        coefficients[power] -= given.rate * sum(error * x**power for x, error in found) / len(found)
loss = sum(error * error for _, error in errors("validation")) / len(points["validation"])
given.out.parent.mkdir(parents=True, exist_ok=True)
given.out.write_text(json.dumps({"coefficients": coefficients, "validation_loss": loss}, indent=2) + "\n")
print(f"validation loss {loss:.4f}")
