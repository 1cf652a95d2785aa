"""The automation of Prefect's server that marks runs without a heartbeat as crashed."""

from contextlib import suppress
from datetime import timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from flows.prefect_server.crashes import HEARTBEAT_EVENT, SILENT

CRASH_AUTOMATION = "inkflow: runs that fell silent"  # the name by which an earlier one is found; it never changes
# What earlier versions stored for the webhook: `flows.prefect_server.notifier` calls it now.
RETIRED_AUTOMATION, RETIRED_BLOCK = "inkflow: a nightly run went wrong", "inkflow-webhook"
FINAL_EVENTS = {
    f"prefect.flow-run.{name}" for name in ("Completed", "Cached", "Failed", "Cancelled", "Crashed", "TimedOut")
}
DEFAULT_HEARTBEAT_S = 180  # Prefect's default, and so the longest interval of clients that set none
MISSED_HEARTBEATS = 3  # before a run counts as dead


def crash_automation(heartbeat_s: int = DEFAULT_HEARTBEAT_S) -> AutomationCore:
    """Returns the automation that marks runs without a heartbeat as crashed.

    It covers runs whose process and worker both died: neither can report the crash. The server counts by the wall
    clock. After a suspend of the machine it marks living runs too, which `retry-crashed` sets back to running.
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
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=SILENT)],
    )


def set_up_automations(client: SyncPrefectClient, heartbeat_s: int = DEFAULT_HEARTBEAT_S) -> None:
    """Creates the automation on the server, or updates it in place if its condition has changed.

    An equal one is left alone, and so its watches of running runs go on. A person's switch stays in any case.
    """
    automation = crash_automation(heartbeat_s)
    existing = next(iter(client.read_automations_by_name(CRASH_AUTOMATION)), None)
    for retired in client.read_automations_by_name(RETIRED_AUTOMATION):
        client.delete_automation(retired.id)
    with suppress(ObjectNotFound):
        client.delete_block_document(client.read_block_document_by_name(RETIRED_BLOCK, "webhook").id)
    if existing is None:
        client.create_automation(automation)
    elif (existing.trigger, existing.actions) != (automation.trigger, automation.actions):
        content = automation.model_dump(mode="json", include={"name", "description", "trigger", "actions"})
        client.request("PUT", "/automations/{id}", path_params={"id": existing.id}, json=content)
