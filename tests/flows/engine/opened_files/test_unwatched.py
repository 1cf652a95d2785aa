"""Commands whose Python processes do not note what they open."""

import pytest

from flows.engine.opened_files.unwatched import unwatched

PATH, OPTIONS = "sets PYTHONPATH", "starts Python with -E, -I or -S"


@pytest.mark.parametrize(
    ("line", "way"),
    [
        ("PYTHONPATH=src python -m pkg", PATH),
        ("export PYTHONPATH='src dir' && python a.py", PATH),
        ("cd x; PYTHONPATH= python a.py", PATH),
        ("env A=1 PYTHONPATH=src python a.py; echo $PYTHONPATH", PATH),
        ("PYTHONPATH=$PYTHONPATHS python a.py", PATH),
        ("PYTHONPATH=src:$PYTHONPATH python a.py", ""),
        ('PYTHONPATH="$PWD/a b:$PYTHONPATH" python a.py', ""),
        ("PYTHONPATH=$(cd src && pwd):${PYTHONPATH:-} python a.py", ""),
        ("PYTHONPATH+=:src python a.py", ""),
        ("env -i python a.py", "empties the environment"),
        ("env A=1 python a.py -i", ""),
        ("unset A PYTHONPATH; python a.py", "unsets PYTHONPATH"),
        ("env -u PYTHONPATH python a.py", "unsets PYTHONPATH"),
        ("python -I a.py", OPTIONS),
        ("/usr/bin/python3.11 -X dev -W ignore -sE -m pkg", OPTIONS),
        ('sh -c "python -S a.py"', OPTIONS),
        ("python a.py -I", ""),
        ("python -m pkg -E", ""),
        ("python -OO a.py", ""),
    ],
)
def test_ways_to_hide(line: str, way: str) -> None:
    """The command that takes the run's PYTHONPATH away is recognised, and one that keeps it is not."""
    assert unwatched(["mkdir -p out", line]) == way
