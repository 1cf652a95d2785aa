"""Reads the output of a stage on a worker from the Prefect server: each line once, in order."""

from datetime import datetime, timedelta
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId, LogFilterTimestamp
from prefect.client.schemas.sorting import LogSort

from flows.workers.stage_report import STAGE_LOGGER

PAGE_SIZE = 200  # the server returns at most so many records per request
MAX_DELAY = timedelta(seconds=2)  # a line may reach the server later than a line that was logged after it


class LogReader:
    """Reads the lines of one flow run and remembers its position."""

    def __init__(self, flow_run_id: UUID) -> None:
        self._flow_run_id = LogFilterFlowRunId(any_=[flow_run_id])
        self._read: dict[UUID, datetime] = {}  # time stamps of the newest log records, by their id

    def read_new(self, client: SyncPrefectClient) -> list[str]:
        """Return the lines that have reached the server since the last call.

        Pages are delimited by time stamps: offsets shift when a late record arrives.
        """
        since = max(self._read.values()) - MAX_DELAY if self._read else None
        read, lines = dict(self._read), []  # stored at the end: after an error all pages are read again
        while True:
            timestamp = LogFilterTimestamp(after_=since) if since else None
            log_filter = LogFilter(flow_run_id=self._flow_run_id, timestamp=timestamp)
            records = client.read_logs(log_filter, limit=PAGE_SIZE, sort=LogSort.TIMESTAMP_ASC)
            new = [record for record in records if record.id not in read]
            read |= {record.id: record.timestamp for record in new}
            for record in new:
                if record.name.endswith(f".{STAGE_LOGGER}"):
                    lines += record.message.split("\n")
            if len(records) < PAGE_SIZE:
                break
            since = records[-1].timestamp if new else records[-1].timestamp + timedelta(microseconds=1)
        newest = max(read.values(), default=None)
        self._read = {record: time for record, time in read.items() if newest and time >= newest - MAX_DELAY}
        return lines
