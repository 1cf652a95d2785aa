"""An installation of the built wheel, for tests of what other people get: without this checkout and TensorFlow."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.root import ROOT

UV = Path(sys.executable).with_name("uv")
HIDDEN = ("tensorflow", "keras", "inkflow", "__editable__")  # packages of this environment that an installation lacks


@dataclass(frozen=True)
class Installation:
    """The built archives, and an environment in which the wheel is installed."""

    wheel: Path
    sdist: Path
    bin: Path

    def run(self, *command: str, folder: Path, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of the environment in `folder`, and checks its exit code."""
        done = subprocess.run(
            [self.bin / command[0], *command[1:]],
            cwd=folder,
            env=self.environment() | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def environment(self) -> dict[str, str]:
        """Returns the variables of this process, without this checkout."""
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
        return kept | {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}


def tracked_files() -> list[str]:
    """Returns the files that git tracks, or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return [name for name in names if (ROOT / name).is_file()]


def install(folder: Path) -> Installation:
    """Builds the archives of a copy of the tracked files, and installs the wheel; needs no network."""
    source, archives, environment = folder / "source", folder / "archives", folder / "environment"
    for name in tracked_files():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)
    _uv("build", "--no-build-isolation", "--python", sys.executable, "--out-dir", archives, source)
    venv.create(environment, symlinks=True)
    (wheel,), (sdist,) = archives.glob("*.whl"), archives.glob("*.tar.gz")
    libraries = folder / "libraries"
    libraries.mkdir()
    for path in _visible_packages():
        (libraries / path.name).symlink_to(path)
    site = sysconfig.get_path("purelib", vars={"base": str(environment)})
    (Path(site) / "libraries.pth").write_text(f"{libraries}\n")
    _uv("pip", "install", "--no-deps", "--python", environment / "bin" / "python", wheel)
    return Installation(wheel, sdist, environment / "bin")


def _visible_packages() -> Iterator[Path]:
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if not path.name.startswith(HIDDEN) and path.suffix != ".pth":
            yield path


def _uv(*arguments: str | Path) -> None:
    done = subprocess.run([UV, "--offline", "--quiet", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
