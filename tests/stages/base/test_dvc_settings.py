"""The files of DVC's settings are those that DVC itself reads."""

from pathlib import Path

import pytest
from dvc.config import Config

from stages.base.dvc_settings import expanded, settings_files

NAMES = ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_CONFIG_DIRS", "HOME")


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HOME": "/people/ana"},
        {"HOME": "/people/ana", "XDG_CONFIG_HOME": "/settings", "XDG_CONFIG_DIRS": "/etc/first:/etc/second"},
        {"HOME": "/people/ana", "XDG_CONFIG_HOME": "settings", "XDG_CONFIG_DIRS": "relative:/etc/second"},
        {
            "DVC_GLOBAL_CONFIG_DIR": "/a",
            "DVC_SYSTEM_CONFIG_DIR": "/b",
            "XDG_CONFIG_HOME": "/c",
            "XDG_CONFIG_DIRS": "/d",
        },
        {"DVC_GLOBAL_CONFIG_DIR": "", "DVC_SYSTEM_CONFIG_DIR": "", "XDG_CONFIG_HOME": "", "XDG_CONFIG_DIRS": ""},
    ],
    ids=["none", "home", "XDG", "relative", "own", "empty"],
)
def test_files_are_those_of_dvc(variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Project, user and system have the same files as for DVC, in the order in which they decide."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    Path(".dvc").mkdir()
    files = Config(str(tmp_path / ".dvc")).files
    decisive_first = [Path(files[level]) for level in reversed(Config.LEVELS)]
    assert [path.absolute() for path in settings_files()] == decisive_first


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """A path whose user has no home folder stays as it is."""
    assert expanded("~nobody-of-this-name/cache") == Path("~nobody-of-this-name/cache")
    monkeypatch.setenv("HOME", "/people/ana")
    assert expanded("~/cache") == Path("/people/ana/cache")
