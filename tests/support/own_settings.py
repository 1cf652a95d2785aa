"""The settings of all tests, in place of those of the person and the machine."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

from tests.support.root import ROOT

BIN = Path(sys.executable).parent
DROPPED = (
    "SHELL",
    "NO_COLOR",
    "FORCE_COLOR",
    "COLUMNS",
    "LINES",
    "PREFECT_API_URL",
    "PREFECT_PROFILE",
    "PYTHONDONTWRITEBYTECODE",
)
VARIABLES = {
    # The commands of a stage find the `dvc` and `python` of this environment, not others of the caller.
    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    "GIT_CONFIG_GLOBAL": str(ROOT / "tests/support/gitconfig"),
    "GIT_CONFIG_NOSYSTEM": "1",
    "DVC_GLOBAL_CONFIG_DIR": "/nonexistent",
    "DVC_SYSTEM_CONFIG_DIR": "/nonexistent",
    # Toy projects do not disable DVC's analytics: each `dvc` would leave a process that sends a report.
    "DVC_NO_ANALYTICS": "1",
    # Once Prefect is imported, a flow run in this process would start a server of Prefect's own, which may be too slow
    # on a busy machine. It fails at once instead: such tests use the fixture `inkflow`.
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
}


def apply() -> None:
    """Sets them for this process and those that it starts."""
    for name in DROPPED:
        os.environ.pop(name, None)
    os.environ.update(VARIABLES)
    # A slow machine is no error: an example of Hypothesis may take any time.
    settings.register_profile("inkflow", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("inkflow")
