"""Whether DVC's default remote can be reached: `python -m flows.dvc_repo.remote_check`, a process that can be ended."""

import sys

from dvc.exceptions import DvcException
from dvc.repo import Repo

REACHED, UNREACHABLE = 0, 1


def main() -> int:
    """Ask the remote whether its folder is there: an empty remote has none yet, and is reached all the same."""
    try:
        with Repo() as repo:
            store = repo.cloud.get_remote_odb()
            store.fs.exists(store.path)
            protocol = store.fs.protocol
            if (protocol if isinstance(protocol, str) else protocol[0]) in ("file", "local"):
                store.fs.makedirs(store.path, exist_ok=True)
    except DvcException as error:
        print(error)
        return UNREACHABLE
    except Exception as error:  # noqa: BLE001 - each kind of remote raises its library's own errors
        print(f"{type(error).__name__}: {error}")
        return UNREACHABLE
    return REACHED


if __name__ == "__main__":
    sys.exit(main())
