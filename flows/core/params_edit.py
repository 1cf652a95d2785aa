"""Editing params.yaml for `--set KEY=VALUE` and `--dataset NAME`: comments kept, checked before it is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from flows.core.yaml_edit import edit
from stages.base.errors import InvalidInput
from stages.base.files import write_text
from stages.base.suggestions import did_you_mean, unknown

if TYPE_CHECKING:  # loading the schema takes an eighth of a second: not for a project that has none
    from stages.params.schema import Params

PATH = Path("params.yaml")
SCHEMA = Path("params.schema.json")


@dataclass(frozen=True)
class Edited:
    """params.yaml before and with settings, and what it then holds; None in a project without our schema."""

    before: str
    text: str
    params: "Params | None"


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """`["models.dense.epochs=3"]` as `{"models.dense.epochs": 3}`; values are read as YAML.

    Raises:
        InvalidInput: a setting is not KEY=VALUE, or the value is not YAML.
    """
    return dict(_parse(setting) for setting in settings)


def apply_settings(settings: Mapping[str, Any], root: Path) -> "Params | None":
    """Write `settings` into the params.yaml below `root` and give what it then holds.

    Raises:
        ParamsError: the file would be wrong with them; it stays as it was.
    """
    edited = edited_params(settings, root)
    if edited.text != edited.before:
        write_text(root / PATH, edited.text)
    return edited.params


def edited_params(settings: Mapping[str, Any], root: Path) -> Edited:
    """What params.yaml below `root` would be with `settings`; nothing is written.

    The engine runs any DVC project; only one with our schema beside its params.yaml is held to it.

    Raises:
        ParamsError: the file is wrong, or would be with them.
        InvalidInput: there is no file, or a key that leads nowhere.
    """
    path = root / PATH
    ours = (root / SCHEMA).exists()
    if not ours and not path.exists():
        if settings:
            raise InvalidInput(f"there is no {PATH} here to set {', '.join(settings)} in")
        return Edited("", "", None)
    params = _load(path) if ours else None  # what is wrong already is said first
    before = text = path.read_text(encoding="utf-8")
    for key, value in settings.items():
        text = edit(text, key, value)
    if text != before and ours:
        params = _check(text)
    return Edited(before, text, params)


def _load(path: Path) -> "Params":
    from stages.params.schema import load_params  # late: see above

    return load_params(path)


def _check(text: str) -> "Params":
    from stages.params.schema import check_params  # late: see above

    return check_params(YAML(typ="safe", pure=True).load(text), PATH)


def check_dataset(params: "Params | None", name: str | None) -> None:
    """Refuse a `name` that `datasets` does not have.

    Raises:
        InvalidInput: with the names that there are.
    """
    known = params.datasets if params else ()
    if name is not None and name not in known:
        raise InvalidInput(unknown("data set", name, known))


def with_models(names: Sequence[str], root: Path) -> dict[str, Any]:
    """The settings that add the models `names`, kept ready in params.yaml, to those that are trained.

    Raises:
        ParamsError: the file is wrong.
        InvalidInput: none of that name is kept ready.
    """
    if not names:
        return {}
    params = edited_params({}, root).params
    known = params.more_models if params else ()
    for name in names:
        if name not in known:
            ready = f"{did_you_mean(name, known)}known: {', '.join(known) or 'none'}"
            raise InvalidInput(f"--with {name}: `more_models` has no model of that name; {ready}")
    content = YAML(typ="safe", pure=True).load((root / PATH).read_text(encoding="utf-8"))
    return {f"models.{name}": content["more_models"][name] for name in names}


def _parse(setting: str) -> tuple[str, Any]:
    key, equals, text = setting.partition("=")
    if not (key and equals):
        raise InvalidInput(f"--set {setting}: expected KEY=VALUE, for example models.dense.epochs=3")
    try:
        return key, YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError) as error:  # a plain ValueError of a date or a number that is none
        raise InvalidInput(f"--set {setting}: {text!r} is not a YAML value") from error
