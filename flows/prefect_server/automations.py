"""Automations of Prefect's server: crash runs without a heartbeat, call a webhook when a scheduled run fails."""

from datetime import timedelta
from typing import Any

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import CallWebhook, ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from pydantic import SecretStr

# Names by which automations of an earlier `inkflow up` are found and replaced; they never change.
CRASH_AUTOMATION = "inkflow: runs that fell silent"
WEBHOOK_AUTOMATION = "inkflow: a nightly run went wrong"
WEBHOOK_BLOCK = "inkflow-webhook"
HEARTBEAT_EVENT = "prefect.flow-run.heartbeat"
FINAL_EVENTS = {
    f"prefect.flow-run.{name}" for name in ("Completed", "Cached", "Failed", "Cancelled", "Crashed", "TimedOut")
}
DEFAULT_HEARTBEAT_S = 180  # Prefect's default, and so the longest interval of clients that set none
MISSED_HEARTBEATS = 3  # before a run counts as dead
UNATTENDED_DEPLOYMENTS = ["nightly", "retrain-on-new-data"]
PAYLOAD = """{
  "text": {{ ["Inkflow:", deployment.name, flow_run.state.name, flow_run.state.message or ""] | join(" ") | tojson }},
  "deployment": {{ deployment.name | tojson }},
  "run": {{ flow_run.name | tojson }},
  "state": {{ flow_run.state.name | tojson }},
  "message": {{ (flow_run.state.message or "") | tojson }},
  "url": {{ (flow_run | ui_url or "") | tojson }}
}"""


def crash_automation(heartbeat_s: int = DEFAULT_HEARTBEAT_S) -> AutomationCore:
    """Returns the automation that marks runs without a heartbeat as crashed.

    It covers runs whose process and worker both died: neither can report the crash.
    """
    return AutomationCore(
        name=CRASH_AUTOMATION,
        description="A run that sends no heartbeat and has not ended is marked as crashed.",
        trigger=EventTrigger(
            after={HEARTBEAT_EVENT},
            expect={HEARTBEAT_EVENT, *FINAL_EVENTS},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            for_each={"prefect.resource.id"},
            posture=Posture.Proactive,
            threshold=1,
            within=timedelta(seconds=MISSED_HEARTBEATS * heartbeat_s),
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="no heartbeat: its process and its worker died")],
    )


def webhook_automation(block: Any) -> AutomationCore:
    """Returns the automation that calls a webhook when an unattended run fails, crashes or is late.

    Args:
        block: The id of the webhook's block on the server.
    """
    return AutomationCore(
        name=WEBHOOK_AUTOMATION,
        description="A nightly run that fails, crashes or is late calls the webhook.",
        trigger=EventTrigger(
            expect={f"prefect.flow-run.{name}" for name in ("Failed", "Crashed", "TimedOut", "Late")},
            match=ResourceSpecification({"prefect.resource.id": ["prefect.flow-run.*"]}),
            match_related=ResourceSpecification(
                {"prefect.resource.role": "deployment", "prefect.resource.name": UNATTENDED_DEPLOYMENTS}
            ),
            posture=Posture.Reactive,
            threshold=1,
            within=timedelta(0),
        ),
        actions=[CallWebhook(block_document_id=block, payload=PAYLOAD)],
    )


def create_automations(client: SyncPrefectClient, webhook: str | None, heartbeat_s: int = DEFAULT_HEARTBEAT_S) -> None:
    """Creates the automations on the server in place of earlier ones; the webhook automation needs a `webhook` URL."""
    automations = [crash_automation(heartbeat_s)]
    if webhook:
        block = Webhook(url=SecretStr(webhook), headers={"Content-Type": "application/json"})
        automations.append(webhook_automation(block.save(WEBHOOK_BLOCK, overwrite=True)))
    for name in (CRASH_AUTOMATION, WEBHOOK_AUTOMATION):
        for existing in client.read_automations_by_name(name):
            client.delete_automation(existing.id)
    for automation in automations:
        client.create_automation(automation)
