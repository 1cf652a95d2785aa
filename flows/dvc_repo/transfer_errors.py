"""Why a transfer failed: DVC raises how many files failed, and logs the errors themselves."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

TRANSFERS = "dvc_data.hashfile.transfer"
LOGGERS = ("dvc", "dvc_data", "dvc_objects", TRANSFERS)


class LoggedErrors(logging.Handler):
    """Hears the errors that DVC logs instead of raising them."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the error of a record that has one."""
        if record.exc_info and record.exc_info[1] is not None:
            self.errors.append(record.exc_info[1])

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear what is logged in the block, in place of DVC's own handlers, which would print."""
        loggers = [logging.getLogger(name) for name in LOGGERS]
        before = [(logger.level, logger.propagate, logger.handlers) for logger in loggers]
        for logger in loggers:
            logger.setLevel(logging.ERROR)
            logger.propagate = False
            logger.handlers = [self]
        try:
            yield
        finally:
            for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
                logger.setLevel(level)
                logger.propagate, logger.handlers = propagate, handlers

    def hear_transfers(self) -> None:
        """Hear what transfers log from now on, in every thread; a block of one would end in another's middle."""
        transfers = logging.getLogger(TRANSFERS)
        transfers.setLevel(logging.ERROR)
        transfers.propagate = False
        transfers.handlers = [self]


def reason(error: BaseException) -> str:
    """The words of an error and of what caused it, each once."""
    words: list[str] = []
    for cause in _causes(error):
        said = " ".join(str(cause).split()) or type(cause).__name__
        if not any(said in before for before in words):
            words.append(said)
    return ": ".join(words)


def _causes(error: BaseException) -> Iterable[BaseException]:
    here: BaseException | None = error
    while here is not None:
        yield here
        here = here.__cause__ or (None if here.__suppress_context__ else here.__context__)
