"""Stage `prepare`: writes noisy points of a parabola; every fourth point is for validation."""

import argparse
import random
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--points", type=int)
parser.add_argument("--noise", type=float)
parser.add_argument("--seed", type=int)
parser.add_argument("--out", type=Path)
given = parser.parse_args()

generator = random.Random(given.seed)
lines = ["part,x,y"]
for number in range(given.points):
    x = generator.uniform(-1, 1)
    y = 1 + x - 2 * x * x + generator.gauss(0, given.noise)
    lines.append(f"{'train' if number % 4 else 'validation'},{x},{y}")
given.out.parent.mkdir(parents=True, exist_ok=True)
given.out.write_text("\n".join(lines) + "\n")
print(f"{given.points} points")
