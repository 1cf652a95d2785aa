"""The log of `inkflow serve` shows texts of others as text."""

import pytest

from stages.serve.answers import log


def test_a_message_is_one_line_without_controls(capsys: pytest.CaptureFixture[str]) -> None:
    """A text in a message makes no line and no control sequence, and shows no password."""
    log("the model \x1b[31mred\nerror: forged\u202e at https://me:hunter22@h/x")
    assert capsys.readouterr().err == "serve: the model red\\nerror: forged at https://me:***@h/x\n"
