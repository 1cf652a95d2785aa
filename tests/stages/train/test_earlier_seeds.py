"""Seeds of the earlier run are found in DVC's cache, wherever DVC's settings put it."""

import json
from pathlib import Path

import pytest
from configobj import ConfigObj  # type: ignore[import-untyped]
from dvc.config import Config

from stages.train.seeds.earlier_seeds import find_earlier

LISTED, CONTENT = "0a1b.dir", "c0ffee"  # hashes: of the list of files, and of one file


def cache_object(cache: Path, value: str) -> Path:
    """Returns the path of an object in DVC's cache."""
    return cache / "files" / "md5" / value[:2] / value[2:]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the current folder whose dvc.lock records a seed; settings of user and system are beside it."""
    folder = tmp_path / "project"
    (folder / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "user"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))
    output = {"path": "models/dense/seeds", "md5": LISTED}
    (folder / "dvc.lock").write_text(json.dumps({"stages": {"train@dense": {"outs": [output]}}}))
    return folder


@pytest.mark.parametrize(
    ("settings", "cache"),
    [
        ({}, "project/.dvc/cache"),
        ({"project/.dvc/config": "../shared"}, "project/shared"),
        ({"user/config": "/CACHE"}, "CACHE"),
        ({"system/config": "~/cache"}, "home/cache"),
        ({"user/config": "relative"}, "user/relative"),
        ({"system/config": "/CACHE", "user/config": "/OTHER"}, "OTHER"),
        ({"user/config": "/CACHE", "project/.dvc/config": "/OTHER"}, "OTHER"),
        ({"project/.dvc/config": "/CACHE", "project/.dvc/config.local": "/OTHER"}, "OTHER"),
        ({"user/config": "/A, B # C"}, "A, B # C"),  # quoted by DVC
    ],
)
def test_seeds_in_the_cache_of_any_settings(
    settings: dict[str, str], cache: str, project: Path, tmp_path: Path
) -> None:
    """The cache of the project's settings, of the user's or of the system's is searched, as DVC chooses it."""
    for file, folder in settings.items():
        absolute = f"{tmp_path}{folder}" if folder.startswith("/") else folder
        (tmp_path / file).parent.mkdir(exist_ok=True)
        with (tmp_path / file).open("wb") as stream:
            ConfigObj({"core": {"analytics": "false"}, "cache": {"dir": absolute}}).write(stream)
    chosen = tmp_path / cache
    assert Path(Config(".dvc")["cache"].get("dir", ".dvc/cache")).absolute() == chosen
    for value in (LISTED, CONTENT):
        cache_object(chosen, value).parent.mkdir(parents=True)
    cache_object(chosen, LISTED).write_text(json.dumps([{"md5": CONTENT, "relpath": "3/model.onnx"}]))
    found = find_earlier(Path("models/dense/seeds"))
    assert {seed: {name: path.resolve() for name, path in files.items()} for seed, files in found.items()} == {
        "3": {"model.onnx": cache_object(chosen, CONTENT)}
    }


@pytest.mark.parametrize("value", ['"{}" # shared', "{} # shared", "'{}'"])
def test_a_value_with_quotes_and_a_comment(value: str, project: Path, tmp_path: Path) -> None:
    """Settings that a person wrote may have quotes and comments, which are no part of the path."""
    (project / ".dvc/config").write_text(f"[core]\n    remote = r\n[cache]\n    dir = {value.format(tmp_path / 'c')}\n")
    assert Config(".dvc")["cache"]["dir"] == str(tmp_path / "c")
    cache_object(tmp_path / "c", LISTED).parent.mkdir(parents=True)
    cache_object(tmp_path / "c", LISTED).write_text(json.dumps([{"md5": CONTENT, "relpath": "3/model.onnx"}]))
    assert list(find_earlier(Path("models/dense/seeds"))) == ["3"]
