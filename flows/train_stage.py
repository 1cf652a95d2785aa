"""The flow that a worker runs: one stage of an order. Deployed as `train-stage/<pool>`."""

from typing import Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.logging.loggers import PrefectLogAdapter
from prefect.states import Completed

from flows.core.redaction import mask_logs
from flows.tasks.failure_state import failed
from flows.workers.executor import Executor
from flows.workers.heartbeat import Heartbeat
from flows.workers.order import Order
from flows.workers.stage_report import LINES
from stages.base.errors import InkflowError

mask_logs()


@flow(name="train-stage", persist_result=False, validate_parameters=True)
def train_stage(order: Order) -> State[Any]:
    """Run one stage as the orchestrator that sent the order would: same commit, same parameters, same inputs.

    Args:
        order: the stage with all that decides its result; `inkflow run` makes it.
    """
    logger = get_run_logger()
    assert isinstance(logger, PrefectLogAdapter)
    executor = Executor(order, logger.getChild(LINES).info)
    with Heartbeat(order.stage, executor) as reporter:
        try:
            executor.run()
        except InkflowError as error:
            reporter.end(error)
            return failed(error)
        reporter.end(None)
    return Completed(message=f"ran on worker {reporter.worker}")
