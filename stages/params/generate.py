"""Writes what follows from the schema of params.yaml: params.schema.json and docs/parameters.md.

`python -m stages.params.generate` writes both; with `--check` it writes nothing and fails when one of them is stale.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.base.errors import InvalidInput, exit_with
from stages.base.files import write_text
from stages.params.schema import Params

SCHEMA_PATH = Path("params.schema.json")
DOCS_PATH = Path("docs/parameters.md")
HEADINGS = {
    "Params": "params.yaml",
    "Dataset": "datasets.NAME",
    "Digests": "datasets.NAME.sha256",
    "Pixels": "datasets.NAME.pixels",
    "Prepare": "prepare",
    "Crop": "prepare.crop",
    "DenseModel": "models.NAME with `network: dense`",
    "CnnModel": "models.NAME with `network: cnn`",
    "Conv1dModel": "models.NAME with `network: conv1d`",
    "RecurrentModel": "models.NAME with `network: recurrent`",
    "Optimizer": "models.NAME.optimizer",
    "Schedule": "models.NAME.optimizer.schedule",
    "EarlyStopping": "models.NAME.early_stopping",
    "Augmentation": "models.NAME.augmentation",
    "TestTimeAugmentation": "models.NAME.test_time_augmentation",
    "Report": "report",
    "Gates": "gates",
    "Gate": "gates.every and gates.models.NAME",
}
INTRODUCTION = """\
# Parameters

Every key of `params.yaml`. `make schema` writes this page from `stages/params/schema.py` and the sections that it
assembles; do not edit it. Names (NAME) are lower-case letters, digits and `_` after a letter, at most 40: they become
file names and shell words. A mistake stops every command before it does anything.
"""


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of params.yaml; a name that breaks the rules for names is refused."""
    schema: dict[str, Any] = _closed(Params.model_json_schema())
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _closed(node: Any) -> Any:
    """`node` with every mapping of names open to names of the right form alone, as pydantic checks them."""
    if isinstance(node, list):
        return [_closed(part) for part in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(part) for key, part in node.items()}
    return closed | {"additionalProperties": False} if "patternProperties" in closed else closed


def parameters_page(schema: Mapping[str, Any]) -> str:
    """docs/parameters.md: one table a section of `schema`."""
    sections = {"Params": schema, **schema["$defs"]}
    missing = sorted(sections.keys() ^ HEADINGS.keys())
    if missing:
        raise InvalidInput(
            f"the headings in stages/params/generate.py differ from the schema in the sections {', '.join(missing)}"
        )
    return "\n".join([INTRODUCTION, *(_table(heading, sections[name]) for name, heading in HEADINGS.items())])


def _table(heading: str, section: Mapping[str, Any]) -> str:
    required = section.get("required", [])
    rows = [_row(key, field, key in required) for key, field in section["properties"].items()]
    lines = ["| key | allowed | default | meaning |", "|---|---|---|---|", *rows]
    return f"## {heading}\n\n{section.get('description', '')}\n\n" + "\n".join(lines) + "\n"


def _row(key: str, field: Mapping[str, Any], required: bool) -> str:
    default = "required" if required else f"`{json.dumps(field.get('default', {}))}`"
    cells = (f"`{key}`", _allowed(field), default, field.get("description", ""))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _allowed(field: Mapping[str, Any]) -> str:
    """What `field` may be, in words."""
    choices = field.get("anyOf") or field.get("oneOf")
    if choices:
        return " or ".join(_allowed(choice) for choice in choices)
    if "enum" in field or "const" in field:
        return ", ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    if "$ref" in field:
        return HEADINGS[field["$ref"].rsplit("/", 1)[1]].split(" with ")[-1]
    if field.get("type") == "array":
        return f"a list of {_count(field)}{_allowed(field['items'])}"
    if "patternProperties" in field:
        (value,) = field["patternProperties"].values()
        return f"names, each with {_allowed(value)}"
    return f"{field.get('type', 'anything')}{_limits(field)}"


def _count(field: Mapping[str, Any]) -> str:
    least, most = field.get("minItems", 0), field.get("maxItems")
    if least == most:
        return f"{least}: "
    return f"{least} to {most}: " if most is not None else ""


def _limits(field: Mapping[str, Any]) -> str:
    words = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "below"}
    said = [f"{word} {field[key]}" for key, word in words.items() if key in field]
    said += [f"that matches `{field['pattern']}`"] if "pattern" in field else []
    return "".join(f" {part}" for part in said)


def files() -> dict[Path, str]:
    """What the files that follow from the schema should hold."""
    schema = json_schema()
    return {
        SCHEMA_PATH: json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
        DOCS_PATH: parameters_page(schema),
    }


def stale(root: Path) -> list[Path]:
    """Those of the files below `root` that are missing or not what the schema says."""
    return [
        path
        for path, text in files().items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def check(root: Path) -> None:
    """Do nothing when all files below `root` are fresh.

    Raises:
        InvalidInput: one is stale.
    """
    names = ", ".join(str(path) for path in stale(root))
    if names:
        raise InvalidInput(f"{names}: not what stages/params/schema.py says; write it again with `make schema`")


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the files in the working directory."""
    parser = argparse.ArgumentParser(prog="python -m stages.params.generate", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is stale")
    if parser.parse_args(argv).check:
        check(Path())
        return 0
    for path, text in files().items():
        write_text(path, text)
        print(f"wrote {path}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_with(main))
