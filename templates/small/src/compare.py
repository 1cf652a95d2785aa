"""Stage `compare`: writes the validation loss of each model, as metrics of DVC."""

import argparse
import json
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--models", type=Path)
parser.add_argument("--out", type=Path)
given = parser.parse_args()

losses = {path.stem: json.loads(path.read_text())["validation_loss"] for path in sorted(given.models.glob("*.json"))}
given.out.write_text(json.dumps({"validation_loss": losses}, indent=2) + "\n")
print(f"the best model is {min(losses, key=lambda name: losses[name])}")
