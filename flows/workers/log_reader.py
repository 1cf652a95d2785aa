"""What a stage on a worker prints, as the Prefect server has it: each line once, in order."""

from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, LogFilterTimestamp
from prefect.client.schemas.sorting import LogSort

from flows.workers.stage_report import LINES

PAGE = 200  # what the server gives at most at a time
LATE = timedelta(seconds=2)  # a line may reach the server after one that was said later


class LogReader:
    """The lines of one run, as far as they were read."""

    def __init__(self, run: UUID) -> None:
        self._run = LogFilterFlowRunId(any_=[run])
        self._seen: dict[UUID, datetime] = {}  # the newest ones

    def new(self, client: SyncPrefectClient) -> list[str]:
        """All that the server has by now and that was not read before; by their time, since offsets shift."""
        since = max(self._seen.values()) - LATE if self._seen else None
        seen, lines = dict(self._seen), []  # kept at the end: after an error in between, all is read again
        while True:
            timestamp = LogFilterTimestamp(after_=since) if since else None
            which = LogFilter(flow_run_id=self._run, timestamp=timestamp)
            logs = client.read_logs(which, limit=PAGE, sort=LogSort.TIMESTAMP_ASC)
            unseen = [log for log in logs if log.id not in seen]
            seen |= {log.id: log.timestamp for log in unseen}
            lines += [log.message for log in unseen if log.name.endswith(f".{LINES}")]
            if len(logs) < PAGE:
                break
            since = logs[-1].timestamp if unseen else logs[-1].timestamp + timedelta(microseconds=1)
        newest = max(seen.values(), default=None)
        self._seen = {line: time for line, time in seen.items() if newest and time >= newest - LATE}
        return lines
