"""The application: a page to draw on, pictures, the Open Inference Protocol, metrics and health."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Scope

from stages.predict.results import Prediction, Result
from stages.serve.answers import answered, log
from stages.serve.batching import Batcher
from stages.serve.description import describe_routes
from stages.serve.guard import Guard
from stages.serve.metrics import Metrics
from stages.serve.pictures import Decoder, as_png
from stages.serve.protocol_routes import INFER, INFER_PATH, DirectInference, add_protocol
from stages.serve.served_model import ModelSlot, ServedModel
from stages.serve.settings import Settings
from stages.serve.watching import ServerWatch

PAGE = resources.files("stages.serve") / "page"
TYPES = {"page.css": "text/css", "page.js": "text/javascript"}
CARD_KEYS = ("model", "task", "network", "parameters", "epochs", "device", "versions", "samples", "validation")


def create_app(settings: Settings, slot: ModelSlot) -> ASGIApp:
    """Returns the application for the model in `slot`, behind its guard."""
    metrics = Metrics()
    watch = ServerWatch(log, metrics.alarms) if settings.watch else None
    batcher = Batcher(slot, settings, metrics, watch)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        work = [batcher.run(), slot.follow(log), *([watch.run(slot)] if watch else [])]
        tasks = [asyncio.create_task(item) for item in work]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    app = FastAPI(title=f"Inkflow: {settings.model}", lifespan=lifespan, docs_url=None, redoc_url=None)
    _add_page(app, settings, slot)
    _add_predict(app, settings, slot, batcher)
    infer = add_protocol(app, settings, slot, batcher)

    @app.get("/metrics")
    async def read_metrics() -> Response:
        """Metrics in Prometheus's format."""
        model = slot.model
        return Response(
            metrics.text(settings.model, model.version, model.sha256), media_type="text/plain; version=0.0.4"
        )

    @app.exception_handler(HTTPException)
    async def refuse(request: Request, error: HTTPException) -> Response:
        reason = "is unknown" if error.status_code == 404 else str(error.detail)
        message = f"{request.method} {request.url.path}: {reason}; /docs lists what there is"
        return JSONResponse({"error": message}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_query(_: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"error": "; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())}, 400)

    def known(scope: Scope) -> str | None:
        if INFER_PATH.fullmatch(scope["path"]):
            return INFER
        return next((route.path for route in app.routes if route.matches(scope)[0] is Match.FULL), None)  # type: ignore[attr-defined]

    return Guard(DirectInference(app, infer), settings, metrics, known)


def _add_page(app: FastAPI, settings: Settings, slot: ModelSlot) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> HTMLResponse:
        return HTMLResponse((PAGE / "page.html").read_text(encoding="utf-8"))

    def asset(name: str, media_type: str) -> None:
        @app.get(f"/{name}", include_in_schema=False)
        async def read_asset() -> Response:
            return Response((PAGE / name).read_bytes(), media_type=media_type)

    for name, media_type in TYPES.items():
        asset(name, media_type)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(describe_routes(app))

    @app.get("/card")
    async def card() -> dict[str, Any]:
        """The model's card: name, version, digest, input, classes, and what its training recorded."""
        model = slot.model
        return {
            "name": settings.model,
            **model.identity,
            "shape": model.classifier.shape,
            "classes": model.classifier.class_names,
            "stand_in_for": model.classifier.stand_in_for,
            "picture_form": model.classifier.picture_form,
            "training": {key: model.card[key] for key in CARD_KEYS if key in model.card},
        }


def _add_predict(app: FastAPI, settings: Settings, slot: ModelSlot, batcher: Batcher) -> None:
    decoder = Decoder(settings)

    @app.post("/predict")
    async def predict(request: Request, seen: bool = False) -> Response:
        """Classifies the picture in the body: PNG, JPEG, WebP, TIFF, BMP or GIF.

        `seen=true` adds the picture as the model sees it.
        """
        body, model = await request.body(), slot.model

        async def work() -> Response:
            pixels = await decoder.read(body, model)
            answer = await batcher.predict(pixels)
            picture = {"seen": as_png(pixels[0])} if seen else {}
            return JSONResponse(_prediction(answer.predictions[0], answer.model) | picture)

        return await answered(work)


def _prediction(prediction: Result, model: ServedModel) -> dict[str, Any]:
    """Returns a prediction as /predict answers it: a class with all probabilities, or the value of a regression."""
    fields = prediction._asdict()
    del fields["name"]
    if isinstance(prediction, Prediction):
        fields["probabilities"] = dict(zip(model.classifier.class_names, prediction.probabilities, strict=True))
    stand_in = {"stand_in_for": model.classifier.stand_in_for} if model.classifier.stand_in_for else {}
    return fields | stand_in | model.identity
