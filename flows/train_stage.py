"""Runs one stage on a worker as a Prefect flow, deployed as `train-stage/<pool>`."""

from typing import Any

from prefect import get_run_logger
from prefect.client.schemas.objects import State
from prefect.logging.loggers import PrefectLogAdapter
from prefect.states import Completed

from flows.core.redaction import mask_logs
from flows.tasks.failure_state import failure_state
from flows.tasks.own_settings import own_flow
from flows.workers.executor import Executor
from flows.workers.heartbeat import Heartbeat
from flows.workers.order import Order
from flows.workers.stage_report import STAGE_LOGGER
from stages.base.errors import InkflowError

mask_logs()


@own_flow("train-stage")
def train_stage(order: Order) -> State[Any]:
    """Run one stage with the orchestrator's commit, parameters and inputs.

    Args:
        order: the stage, with everything that decides its result; `inkflow run` creates it.
    """
    logger = get_run_logger()
    assert isinstance(logger, PrefectLogAdapter)
    executor = Executor(order, logger.getChild(STAGE_LOGGER).info)
    with Heartbeat(order.stage, executor) as heartbeat:
        try:
            executor.run()
        except InkflowError as error:
            heartbeat.finish(error)
            return failure_state(error)
        heartbeat.finish(None)
    return Completed(message=f"ran on worker {heartbeat.worker}")
