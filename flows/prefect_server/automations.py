"""What Prefect's server does by itself: runs that fell silent are crashed, failed nightly ones are told."""

from datetime import timedelta
from typing import Any

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from pydantic import SecretStr

SILENT, TELL = "inkflow: runs that fell silent", "inkflow: a nightly run went wrong"
BLOCK = "inkflow-webhook"
HEARTBEAT = "prefect.flow-run.heartbeat"
ENDINGS = {f"prefect.flow-run.{name}" for name in ("Completed", "Cached", "Failed", "Cancelled", "Crashed", "TimedOut")}
HEARTBEAT_S = 180  # Prefect's default: a client that nobody told anything else sends no more often
MISSED = 3  # heartbeats, before a run counts as dead
WATCHED = ["nightly", "retrain-on-new-data"]  # deployments that nobody sits beside
PAYLOAD = """{
  "text": {{ ["Inkflow:", deployment.name, flow_run.state.name, flow_run.state.message or ""] | join(" ") | tojson }},
  "deployment": {{ deployment.name | tojson }},
  "run": {{ flow_run.name | tojson }},
  "state": {{ flow_run.state.name | tojson }},
  "message": {{ (flow_run.state.message or "") | tojson }},
  "url": {{ (flow_run | ui_url or "") | tojson }}
}"""


def silent_runs(heartbeat_s: int = HEARTBEAT_S) -> AutomationCore:
    """Runs whose process and worker both died: nobody else can say so."""
    return AutomationCore(
        name=SILENT,
        description="A run that sends no heartbeat and has not ended is marked as crashed.",
        trigger=EventTrigger(
            after={HEARTBEAT},
            expect={HEARTBEAT, *ENDINGS},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=MISSED * heartbeat_s),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="no heartbeat: its process and its worker died")],
    )


def wrong_runs(block: Any) -> AutomationCore:
    """A watched run failed, crashed or did not start in time."""
    return AutomationCore(
        name=TELL,
        description="A nightly run that fails, crashes or is late calls the webhook.",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{name}" for name in ("Failed", "Crashed", "TimedOut", "Late")},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            match_related=ResourceSpecification(
                {"prefect.resource.role": "deployment", "prefect.resource.name": list(WATCHED)}
            ),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[CallWebhook(block_document_id=block, payload=PAYLOAD)],
    )


def set_up(client: SyncPrefectClient, webhook: str | None, heartbeat_s: int = HEARTBEAT_S) -> None:
    """Put the automations in place, as they are now; without a webhook nobody is told."""
    wanted = [silent_runs(heartbeat_s)]
    if webhook:
        block = Webhook(url=SecretStr(webhook), headers={"Content-Type": "application/json"})
        wanted.append(wrong_runs(block.save(BLOCK, overwrite=True)))
    for name in (SILENT, TELL):
        for automation in client.read_automations_by_name(name):
            client.delete_automation(automation.id)
    for new in wanted:
        client.create_automation(new)
