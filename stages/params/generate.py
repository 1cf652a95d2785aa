"""Generates params.schema.json and docs/parameters.md from the schema of params.yaml.

`python -m stages.params.generate` writes both files; with `--check` it writes nothing and fails if a file is stale.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.base.errors import EXIT_DONE, InvalidInput, exit_with
from stages.base.files import write_text
from stages.model.config import DECIDED_BY_BUILD
from stages.model.short_forms import accept_short_forms
from stages.params.schema import Params

SCHEMA_PATH = Path("params.schema.json")
DOCS_PATH = Path("docs/parameters.md")
HEADINGS = {
    "Params": "params.yaml",
    "Dataset": "datasets.NAME",
    "Digests": "datasets.NAME.sha256",
    "Groups": "datasets.NAME.groups",
    "PartNames": "datasets.NAME.groups.arrays and urls",
    "GroupDigests": "datasets.NAME.groups.sha256",
    "Pixels": "datasets.NAME.pixels",
    "Prepare": "prepare",
    "Crop": "prepare.crop",
    "DenseModel": "models.NAME with `network: dense`",
    "CnnModel": "models.NAME with `network: cnn`",
    "Conv1dModel": "models.NAME with `network: conv1d`",
    "RecurrentModel": "models.NAME with `network: recurrent`",
    "CustomModel": "models.NAME with `network: custom`",
    "Optimizer": "models.NAME.optimizer",
    "Schedule": "models.NAME.optimizer.schedule",
    "Constraint": "models.NAME.constraint",
    "EarlyStopping": "models.NAME.early_stopping",
    "Augmentation": "models.NAME.augmentation",
    "TestTimeAugmentation": "models.NAME.test_time_augmentation",
    "Report": "report",
    "Predict": "predict",
    "Gates": "gates",
    "Gate": "gates.every and gates.models.NAME",
}
INTRODUCTION = """\
# Parameters

All keys of `params.yaml`. `make schema` generates this page from `stages/params/schema.py` and the sections that it
imports; do not edit it. A NAME consists of lower-case letters, digits and `_`, starts with a letter, and has at most 40
characters, because it becomes a file name and a shell word. Every command checks the file first and stops at a mistake.

Short forms of a model that can mean only one thing are taken: `optimizer: adam`, `loss: mse`, `units: 64`,
`metrics: AUC`, `schedule: cosine`. Losses, metrics, optimizers and callbacks can be own code: see
[custom models](custom-models.md).

Arguments of Keras's `fit` with another name here: `validation_split` is `prepare.validation` with `held_out: last`,
`class_weight` is `class_weights`, `sample_weight` is the array `w_train` of the [data](own-data.md). There is no
`initial_epoch`: a training that was interrupted goes on after its last whole epoch by itself.
"""


def json_schema() -> dict[str, Any]:
    """Returns the JSON Schema (draft 2020-12) of params.yaml. It rejects invalid names, as pydantic does."""
    schema: dict[str, Any] = _reject_other_names(Params.model_json_schema())
    for key in DECIDED_BY_BUILD:
        del schema["$defs"]["CustomModel"]["properties"][key]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _reject_other_names(node: Any) -> Any:
    """Returns `node` with `additionalProperties: false` in every mapping that has a pattern for its names."""
    if isinstance(node, list):
        return [_reject_other_names(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: _reject_other_names(value) for key, value in node.items()}
    return result | {"additionalProperties": False} if "patternProperties" in result else result


def parameters_page(schema: Mapping[str, Any]) -> str:
    """Returns the text of docs/parameters.md, with one table for each section of `schema`."""
    sections = {"Params": schema, **schema["$defs"]}
    different = sorted(sections.keys() ^ HEADINGS.keys())
    if different:
        raise InvalidInput(
            f"the headings in stages/params/generate.py differ from the schema in the sections {', '.join(different)}"
        )
    return "\n".join([INTRODUCTION, *(_table(heading, sections[name]) for name, heading in HEADINGS.items())])


def _table(heading: str, section: Mapping[str, Any]) -> str:
    required = section.get("required", [])
    rows = [_row(key, field, key in required) for key, field in section["properties"].items()]
    lines = ["| key | allowed | default | meaning |", "|---|---|---|---|", *rows]
    return f"## {heading}\n\n{section.get('description', '')}\n\n" + "\n".join(lines) + "\n"


def _row(key: str, field: Mapping[str, Any], required: bool) -> str:
    default = "required" if required else f"`{json.dumps(field.get('default', {}))}`"
    cells = (f"`{key}`", _allowed_values(field), default, field.get("description", ""))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _allowed_values(field: Mapping[str, Any]) -> str:
    """Describes the allowed values of `field`."""
    choices = field.get("anyOf") or field.get("oneOf")
    if choices:
        return " or ".join(_allowed_values(choice) for choice in choices)
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if "$ref" in field:
        return HEADINGS[field["$ref"].rsplit("/", 1)[1]].split(" with ")[-1]
    if field.get("type") == "array":
        return f"a list of {_item_count(field)}{_allowed_values(field['items'])}"
    if "patternProperties" in field:
        (value,) = field["patternProperties"].values()
        return f"names, each with {_allowed_values(value)}"
    return f"{field.get('type', 'anything')}{_limits(field)}"


def _item_count(field: Mapping[str, Any]) -> str:
    least, most = field.get("minItems", 0), field.get("maxItems")
    if least == most:
        return f"{least}: "
    return f"{least} to {most}: " if most is not None else ""


def _limits(field: Mapping[str, Any]) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    limits = [f" {word} {field[key]}" for key, word in words.items() if key in field]
    limits += [f" that matches `{field['pattern']}`"] if "pattern" in field else []
    return "".join(limits)


def generated_files() -> dict[Path, str]:
    """Returns the texts of the generated files."""
    schema = json_schema()
    return {
        SCHEMA_PATH: json.dumps(accept_short_forms(schema), indent=2, ensure_ascii=False) + "\n",
        DOCS_PATH: parameters_page(schema),
    }


def stale_files(root: Path) -> list[Path]:
    """Returns the generated files that are missing below `root` or differ from the schema."""
    return [
        path
        for path, text in generated_files().items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Writes or checks the generated files in the working directory."""
    parser = argparse.ArgumentParser(prog="python -m stages.params.generate", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is stale")
    if parser.parse_args(argv).check:
        if stale := ", ".join(map(str, stale_files(Path()))):
            raise InvalidInput(f"{stale}: differs from stages/params/schema.py; run `make schema` to write it again")
        return EXIT_DONE
    for path, text in generated_files().items():
        write_text(path, text)
        print(f"wrote {path}", flush=True)
    return EXIT_DONE


if __name__ == "__main__":
    sys.exit(exit_with(main))
