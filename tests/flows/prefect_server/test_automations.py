"""The automation for runs without a heartbeat: made once, then updated in place."""

from datetime import timedelta

import pytest
from prefect import get_client
from prefect.events.schemas.automations import EventTrigger
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.prefect_server.automations import CRASH_AUTOMATION, DEFAULT_HEARTBEAT_S, set_up_automations
from tests.support.prefect_api import api


@pytest.mark.farm
@pytest.mark.server
def test_automation_is_updated_in_place(prefect_url: str) -> None:
    """An equal automation keeps its watches, which have the id of its trigger; a person's switch stays in any case."""
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        set_up_automations(client)
        [first] = client.read_automations_by_name(CRASH_AUTOMATION)
        trigger = trigger_id(prefect_url, str(first.id))
        client.pause_automation(first.id)
        for heartbeat_s in (DEFAULT_HEARTBEAT_S, 3600):
            set_up_automations(client, heartbeat_s)
            [second] = client.read_automations_by_name(CRASH_AUTOMATION)
            assert (second.id, second.enabled) == (first.id, False)
            assert (trigger_id(prefect_url, str(second.id)) == trigger) is (heartbeat_s == DEFAULT_HEARTBEAT_S)
            assert isinstance(second.trigger, EventTrigger)
            assert second.trigger.within == timedelta(seconds=3 * heartbeat_s)


def trigger_id(url: str, automation: str) -> str:
    """Returns the id of an automation's trigger, which Prefect's client leaves out."""
    return str(api(url, "GET", f"/automations/{automation}")["trigger"]["id"])
