"""Writes Prefect's variables, in which flows remember what they have done."""

from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.types import StrictVariableValue
from prefect.variables import Variable


def remember(name: str, value: StrictVariableValue) -> None:
    """Sets a variable of Prefect, whatever it was, also while another run makes or removes it.

    Raises:
        httpx.HTTPError, PrefectException: the server did not accept it.
    """
    try:
        Variable.set(name, value, overwrite=True)
    except (ObjectAlreadyExists, ObjectNotFound):  # between Prefect's look and its write
        Variable.set(name, value, overwrite=True)
