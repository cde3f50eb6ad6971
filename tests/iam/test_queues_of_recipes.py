"""A recipe with a requests queue of its own, in the stage ``custom``: what is done there is allowed, and no more is."""

from __future__ import annotations

import json

import pytest

from tests.iam.attacks import SECURE, arn
from tests.iam.deployed import DeployedPolicies
from tests.iam.functions import ENFORCEMENTS, deployed_stack
from tests.iam.implied import calls_with_roles
from tests.iam.journeys import Journey
from tests.iam.policies import Request

RECIPE, OWN = "claims-eu", "claims-eu-requests"
_SETTLED_AND_SENT = {
    "run_requests": {"sqs:ReceiveMessage": OWN, "sqs:SendMessage": OWN},
    "settle_dead_letter": {"sqs:ReceiveMessage": f"{OWN}-dead-letters", "sqs:SendMessage": OWN},
}


def publish(journey: Journey, queue: str, **fields: str) -> None:
    reply_to = "promptmill-local-replies"
    journey.send(queue, json.dumps({"recipe": RECIPE, "reply_to": reply_to, "prompt": "x"} | fields))


def replies(journey: Journey) -> dict[str, str]:
    """Return what was replied to each id: "ok" or the error's code."""
    found = [json.loads(record["body"]) for record in journey.lose("replies")]
    return {reply["id"]: reply.get("error", {}).get("code", "ok") for reply in found}


def travel(journey: Journey) -> None:
    """Publish, wait for a pause to end, die and start again, and come by a wrong queue, both ways."""
    publish(journey, OWN, id="r1")
    publish(journey, OWN, id="another recipe", recipe="reviews")
    publish(journey, "requests", id="common queue")
    for queue in (OWN, "requests"):
        journey.work_while_there("run_requests", queue)
    assert replies(journey) == {"r1": "ok", "another recipe": "wrong_queue", "common queue": "wrong_queue"}
    journey.services.run(journey.services.switches.pause(RECIPE, by="someone", at="2026-01-01T00:00:00Z"))
    publish(journey, OWN, id="r2")
    journey.work("run_requests", OWN)
    journey.services.run(journey.services.switches.unpause(RECIPE))
    assert [record["body"] for record in journey.stack.take("requests")] == []
    journey.work_while_there("run_requests", OWN)
    body = json.dumps({"recipe": RECIPE, "id": "r3", "prompt": "x", "reply_to": "promptmill-local-replies"})
    journey.dead_letter(OWN, body)
    journey.dead_letter(OWN, body.replace(RECIPE, "reviews").replace("r3", "r4"))
    journey.dead_letter("requests", body.replace("r3", "r5"))
    assert journey.stack.take("requests") == [], "it starts again where it came from"
    journey.work_while_there("run_requests", OWN)
    assert replies(journey) == {"r2": "ok", "r3": "ok", "r4": "wrong_queue", "r5": "wrong_queue"}


@pytest.fixture(scope="module")
def journey() -> Journey:
    with deployed_stack(stage="custom", recipe_queues=(RECIPE,)) as stack:
        found = Journey(stack)
        travel(found)
        gate = ENFORCEMENTS[-1]
    assert gate is found.gate
    return found


@pytest.fixture
def policies(journey: Journey) -> DeployedPolicies:
    return journey.gate.policies


def test_every_call_was_allowed(journey: Journey) -> None:
    assert sorted(f"{holder}: {request}" for holder, request in journey.gate.denied | journey.gate.hidden) == []


def test_a_grant_on_the_queue_that_is_taken_away_is_missed(journey: Journey, policies: DeployedPolicies) -> None:
    asked = [*journey.gate.made, *calls_with_roles(policies.template, journey.gate.world)]
    grants = [
        grant for grant in policies.grants() if f"-{OWN}" in grant.resource and grant.holder in policies.functions
    ]
    assert len(grants) == 10
    for grant in grants:
        left = policies.without(grant)
        missing = [
            request for who, request in asked if who == grant.holder and not policies.allow(who, request, identity=left)
        ]
        assert missing, f"nothing misses {grant}"


def test_nobody_else_receives_sends_or_settles_there(policies: DeployedPolicies) -> None:
    allowed = {
        (function, action, queue)
        for function in policies.functions
        for action in ("sqs:ReceiveMessage", "sqs:SendMessage", "sqs:PurgeQueue", "sqs:SetQueueAttributes")
        for queue in (OWN, f"{OWN}-dead-letters", "reviews-requests", "claims-requests", "claims-eu-2-requests")
        if policies.allow(function, Request(action, arn("sqs", f"promptmill-dev-{queue}"), SECURE))
    }
    wanted = {(who, action, queue) for who, what in _SETTLED_AND_SENT.items() for action, queue in what.items()}
    assert allowed == wanted
