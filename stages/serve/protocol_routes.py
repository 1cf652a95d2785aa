"""The routes of the Open Inference Protocol, version 2, below /v2."""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from stages.serve import inference_protocol as protocol
from stages.serve.answers import answered
from stages.serve.batching import Batcher
from stages.serve.served_model import ModelSlot
from stages.serve.settings import Settings

INFER = "/v2/models/{name}/infer"
INFER_PATH = re.compile(r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?/infer")

Infer = Callable[[Request, str, str | None], Awaitable[Response]]


class DirectInference:
    """Answers inference requests, and passes all others on: FastAPI takes as long for one as all the rest."""

    def __init__(self, app: ASGIApp, infer: Infer) -> None:
        self._app, self._infer = app, infer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers or passes on a request."""
        match = INFER_PATH.fullmatch(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if match is None:
            await self._app(scope, receive, send)
        else:
            response = await self._infer(Request(scope, receive), match["name"], match["version"])
            await response(scope, receive, send)


def add_protocol(app: FastAPI, settings: Settings, slot: ModelSlot, batcher: Batcher) -> Infer:
    """Adds the routes to `app`, and returns the one for inference requests."""
    _add_health(app)

    unknown = partial(_unknown, settings.model, slot)

    @app.get("/v2/models/{name}")
    @app.get("/v2/models/{name}/versions/{version}")
    async def metadata(name: str, version: str | None = None) -> Response:
        """Inputs and outputs of the model."""
        return unknown(name, version) or JSONResponse(protocol.model_metadata(name, slot.model))

    @app.get("/v2/models/{name}/ready")
    @app.get("/v2/models/{name}/versions/{version}/ready")
    async def model_ready(name: str, version: str | None = None) -> Response:
        """Answers when the model is ready."""
        return unknown(name, version) or JSONResponse({"name": name, "ready": True})

    @app.post(INFER)
    @app.post("/v2/models/{name}/versions/{version}/infer")
    async def infer(request: Request, name: str, version: str | None = None) -> Response:
        """Predictions for tensors: raw pixels in 0..255, in the model's shape."""
        if (refused := unknown(name, version)) is not None:
            return refused
        if request.headers.get("content-encoding", "identity") != "identity":
            return JSONResponse({"error": "the body is compressed, expected it as it is"}, 415)
        body, length = await request.body(), request.headers.get(protocol.HEADER_LENGTH)

        async def work() -> Response:
            wanted = protocol.read_request(body, length, slot.model, settings.max_queue)
            answer = await batcher.predict(wanted.pixels)
            if version not in (None, answer.model.version):  # the model was exchanged meanwhile
                return unknown(name, version) or Response(status_code=409)
            content, headers = protocol.write_response(name, wanted, answer.predictions, answer.model)
            return Response(content, headers=headers)

        return await answered(work)

    return infer


def _add_health(app: FastAPI) -> None:
    @app.get("/v2")
    async def server_metadata() -> dict[str, Any]:
        """Name, version and extensions of the server."""
        return {"name": "inkflow", "version": "2", "extensions": ["binary_tensor_data"]}

    @app.get("/v2/health/live")
    async def live() -> dict[str, bool]:
        """Answers while the server runs."""
        return {"live": True}

    @app.get("/v2/health/ready")
    async def ready() -> dict[str, bool]:
        """Answers when the model is open: the server does not listen before."""
        return {"ready": True}


def _unknown(model: str, slot: ModelSlot, name: str, version: str | None) -> Response | None:
    """Returns the answer to a request for another model or version than the one that is served."""
    if name != model:
        return JSONResponse({"error": f"there is no model {name!r}; this server has {model!r}"}, 404)
    if version not in (None, slot.model.version):
        return JSONResponse({"error": f"there is no version {version!r}; it is {slot.model.version!r}"}, 404)
    return None
