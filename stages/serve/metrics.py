"""Metrics of the server in Prometheus's format."""

from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from stages.predict.results import Result, Value

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters and histograms of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        labels = ("path", "status")
        self._requests = Counter("inkflow_requests", "Requests by path and status", labels, registry=self._registry)
        self._seconds = Histogram(
            "inkflow_request_seconds", "Time of a request", ("path",), buckets=SECONDS, registry=self._registry
        )
        self._batches = Histogram("inkflow_batch_samples", "Samples in a batch", buckets=SIZES, registry=self._registry)
        self._classes = Counter(
            "inkflow_predictions",
            "Predictions by class",
            ("label", "unsure"),
            registry=self._registry,
        )
        self._model = Gauge(
            "inkflow_model_info", "The model that is served", ("model", "version", "sha256"), registry=self._registry
        )
        self._alarms = Gauge(
            "inkflow_alarms",
            "1 where the images differ from those of the training, until a person decides; 0 elsewhere",
            ("statistic",),
            registry=self._registry,
        )
        self._watched: Mapping[str, bool] = {}

    def request(self, path: str, status: int, seconds: float) -> None:
        """Counts one request."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def batch(self, size: int, predictions: Sequence[Result]) -> None:
        """Counts one batch and its predictions."""
        self._batches.observe(size)
        for prediction in predictions:
            label = "" if isinstance(prediction, Value) else prediction.label
            self._classes.labels(label, str(bool(prediction.unsure)).lower()).inc()

    def alarms(self, standing: Mapping[str, bool]) -> None:
        """Takes the statistics that are watched, and whether an alarm stands."""
        for name in self._watched.keys() - standing.keys():
            self._alarms.remove(name)
        for name, stands in standing.items():
            self._alarms.labels(name).set(stands)
        self._watched = standing

    def text(self, model: str, version: str, sha256: str) -> bytes:
        """Returns all metrics, with the model that is served now."""
        self._model.clear()
        self._model.labels(model, version, sha256).set(1)
        return generate_latest(self._registry)
