"""Errors of a request become answers with one sentence, and those of the machine lines of the log too."""

from collections.abc import Awaitable, Callable

from fastapi import Response
from fastapi.responses import JSONResponse

from stages.base.errors import InkflowError, machine_fault
from stages.base.shown_text import one_line, shown_text
from stages.base.streams import tell
from stages.serve.batching import Busy, ModelChanged

RETRY = {"retry-after": "1"}


async def answered(work: Callable[[], Awaitable[Response]]) -> Response:
    """Returns the answer of `work`; its errors become answers with a sentence."""
    try:
        return await work()
    except Busy:
        return JSONResponse({"error": "too many requests wait; send it again"}, 503, RETRY)
    except TimeoutError:
        return JSONResponse({"error": "no answer in time; send it again"}, 503, RETRY)
    except InkflowError as error:
        return JSONResponse({"error": str(error)}, 400)
    except ModelChanged as error:
        return JSONResponse({"error": str(error)}, 409)
    except MemoryError:
        return JSONResponse({"error": "too large for the memory of this server"}, 413)
    except OSError as error:  # a full disk, or too many open files; TimeoutError, which is one, has its answer above
        log(machine_fault(error) or str(error))
        reason = error.strerror or type(error).__name__
        return JSONResponse({"error": f"a fault of this server's machine ({reason}); send it again later"}, 503, RETRY)


def log(message: str) -> None:
    """Writes a line to standard error: `message` may have texts of a model or of a request.

    It raises no error: the tasks that log go on for as long as the server runs.
    """
    tell(f"serve: {one_line(shown_text(message))}")
