"""Errors of a request become answers with one sentence."""

from collections.abc import Awaitable, Callable

from fastapi import Response
from fastapi.responses import JSONResponse

from stages.base.errors import InkflowError
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
