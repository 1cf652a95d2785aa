"""Edits params.yaml for `--set`, `--with` and `--dataset`: keeps comments, checks the result before writing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruamel.yaml.error import YAMLError

from flows.core.errors import ServerUnreachable
from flows.core.notices import note_once
from flows.core.project import merge_conflict
from flows.edits.edited_file import read_edited, write_edited
from flows.edits.yaml_edit import has_key, set_entry, set_value
from stages.base.errors import InvalidInput
from stages.base.shown_text import shortened
from stages.base.suggestions import did_you_mean, unknown_name_message
from stages.base.yaml_text import SURROGATE, parse_yaml

if TYPE_CHECKING:  # the schema takes 0.12 s to import, and other DVC projects do not need it
    from stages.params.schema import Params

PATH = Path("params.yaml")
SCHEMA = Path("params.schema.json")  # marks a project whose params.yaml has the schema of `stages.params`
MAX_KEY = 500  # characters
OWN_KEYS = ("datasets", "prepare", "models", "more_models")  # by which our schema is recognised
OUR_SECTIONS = {"dataset", "datasets", "models", "report"}  # by which our params.yaml is recognised


@dataclass(frozen=True)
class ParamsEdit:
    """The text of params.yaml before and after an edit, and the parameters after it; None without our schema."""

    before: str
    text: str
    params: "Params | None"

    @property
    def is_change(self) -> bool:
        """Whether the edit changes the text."""
        return self.text != self.before


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Parses `["models.dense.epochs=3"]` as `{"models.dense.epochs": 3}`; values are YAML.

    Raises:
        InvalidInput: a setting is not KEY=VALUE, or its value is not YAML.
    """
    return dict(_parse(setting) for setting in settings)


def has_schema(root: Path) -> bool:
    """Returns True if the project at `root` has the schema of `stages.params`.

    A file of that name with other keys is another program's.
    """
    if not (root / SCHEMA).is_file():
        return False
    text = (root / SCHEMA).read_text(encoding="utf-8", errors="replace")
    is_ours = all(f'"{key}":' in text for key in OWN_KEYS)
    if not is_ours:
        note_once(f"{SCHEMA} is not the schema of Inkflow, so {PATH} is not checked")
    return is_ours


def has_models(root: Path) -> bool:
    """Returns True if the params.yaml below `root` has the sections of our models, or its schema lies beside it."""
    if has_schema(root):
        return True
    try:
        content = parse_yaml(read_edited(root / PATH))
    except (InvalidInput, ValueError, YAMLError):
        return False
    return isinstance(content, dict) and content.keys() >= OUR_SECTIONS


def require_models(root: Path, verb: str) -> None:
    """Raises InvalidInput if the project at `root` has no models that the verb could look at."""
    if not has_models(root):
        raise InvalidInput(
            f"`inkflow {verb}` reads the models of Inkflow's own pipeline, which {root.resolve()} is not: expected "
            f"{', '.join(sorted(OUR_SECTIONS))} in {PATH}; `inkflow compare REV` and `dvc metrics show` work in every "
            "DVC project"
        )


def load_project_params(root: Path) -> "Params | None":
    """Loads and checks the params.yaml below `root`; None in a project without our schema, whose file may be anything.

    Raises:
        ParamsError: the file is missing or has mistakes.
        InvalidInput: a file that defines a run has a merge conflict.
    """
    if conflict := merge_conflict(root):
        raise InvalidInput(conflict)
    if not has_schema(root):
        return None
    from stages.params.schema import load_params  # late: see above

    return load_params(root / PATH)


def apply_settings(settings: Mapping[str, Any], root: Path) -> "Params | None":
    """Writes `settings` into the params.yaml below `root` and returns the parameters after it.

    Raises:
        ParamsError: the file would have mistakes; it is left as it was.
        InvalidInput: there is no file, or a key does not exist.
    """
    edit = edit_params(settings, root)
    if edit.is_change:
        write_edited(root / PATH, edit.text)
    return edit.params


def edit_params(settings: Mapping[str, Any], root: Path) -> ParamsEdit:
    """Returns the params.yaml below `root` with `settings`, without writing it.

    The result is checked only where our schema lies beside the file: the engine runs any DVC project.

    Raises:
        ParamsError: the file has mistakes, or would have them after the edit.
        InvalidInput: there is no file, or a key does not exist.
    """
    path = root / PATH
    params = load_project_params(root)  # reports the mistakes that were there before the edit
    if params is None and settings and not path.exists():
        raise InvalidInput(f"there is no {PATH} in which {', '.join(settings)} could be set; create the file first")
    if params is None and not settings:  # the file may be anything
        return ParamsEdit("", "", None)
    before = text = read_edited(path)
    for key, value in settings.items():
        changed = set_value(text, key, value)
        if params is None and not has_key(text, key):  # with our schema, a wrong name is an error
            note_once(f"--set {key}: {PATH} has no such key; it is added")
        text = changed
    if params is not None and text != before:
        params = _check(text)
    return ParamsEdit(before, text, params)


@contextmanager
def written_params(edit: ParamsEdit, root: Path) -> Iterator[None]:
    """Writes the edit of params.yaml below `root`, and restores the file if the block refuses to run."""
    if edit.is_change:
        write_edited(root / PATH, edit.text)
    try:
        yield
    except (InvalidInput, ServerUnreachable):
        if edit.is_change:
            write_edited(root / PATH, edit.before)
        raise


def edit_dataset(name: str, entry: dict[str, Any], root: Path, *, use: bool) -> ParamsEdit:
    """Returns the params.yaml below `root` with the data set `name`, without writing it; `use` chooses it too.

    Raises:
        ParamsError: the file has mistakes, or would have them after the edit.
        InvalidInput: the project has no data sets.
    """
    load_project_params(root)
    before = read_edited(root / PATH)
    text = set_entry(before, "datasets", name, entry)
    text = set_value(text, "dataset", name) if use else text
    return ParamsEdit(before, text, _check(text))


def _check(text: str) -> "Params":
    from stages.params.schema import check_params  # late: see above

    return check_params(parse_yaml(text), PATH)


def check_dataset(params: "Params | None", name: str | None) -> None:
    """Checks that `datasets` of `params` has the data set `name`.

    Raises:
        InvalidInput: it has not; the message lists the names that exist.
    """
    known = params.datasets if params else ()
    if name is not None and name not in known:
        raise InvalidInput(unknown_name_message("data set", name, known))


def model_settings(names: Sequence[str], root: Path) -> dict[str, Any]:
    """Returns the settings that copy the models `names` from `more_models` to `models`.

    Raises:
        ParamsError: params.yaml has mistakes.
        InvalidInput: `more_models` lacks one of the names.
    """
    if not names:
        return {}
    params = load_project_params(root)
    known = params.more_models if params else ()
    for name in names:
        if name not in known:
            hint = f"{did_you_mean(name, known)}known: {', '.join(known) or 'none'}"
            raise InvalidInput(f"--with {name}: `more_models` has no model of that name; {hint}")
    content = parse_yaml((root / PATH).read_text(encoding="utf-8"))
    return {f"models.{name}": content["more_models"][name] for name in names}


def _parse(setting: str) -> tuple[str, Any]:
    key, equals, text = setting.partition("=")
    if not (key and equals):
        raise InvalidInput(f"--set {shortened(setting)}: expected KEY=VALUE, for example models.dense.epochs=3")
    check_key("--set", key)
    try:
        return key, parse_yaml(text)
    except (YAMLError, ValueError) as error:  # ruamel raises a plain ValueError for an impossible date or number
        raise InvalidInput(f"--set {key}: {shortened(text)!r} is not a YAML value") from error


def check_key(option: str, key: str) -> None:
    """Raises InvalidInput if the key of an option is no text, or longer than messages should quote."""
    if SURROGATE.search(key):
        raise InvalidInput(f"{option} {shortened(ascii(key))}: the key is no UTF-8 text")
    if len(key) > MAX_KEY:
        raise InvalidInput(
            f"{option} {shortened(key)}: the key has {len(key):,} characters, expected at most {MAX_KEY}"
        )
