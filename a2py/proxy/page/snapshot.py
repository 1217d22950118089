"""What a worker does now, and what is known of its deployments; and the sums of what all workers say.

Knows: running exchanges, limits, cooldowns, lessons. Must not know: HTTP, who looks.
Invariants: no content of any request; at most MAX_RUNNING requests are listed; a snapshot changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from a2py.deployment import Deployment
from a2py.messages.session import AGENT_HEADER
from a2py.proxy.capture import credentials_in, secrets_of
from a2py.proxy.exchange import Exchange
from a2py.proxy.page.recorder import SUMS, Recorder, without_secrets
from a2py.proxy.services import Services

#: Running requests of one worker that are listed, those that run for longest.
MAX_RUNNING = 200

JSON = dict[str, Any]


# -- now ---------------------------------------------------------------------------------------------------------------


def snapshot_now(services: Services, recorder: Recorder | None) -> JSON:
    """Return what this worker does now."""
    loop_time = asyncio.get_running_loop().time()
    exchanges = [one for one in services.running.exchanges if isinstance(one, Exchange)]
    exchanges.sort(key=lambda one: one.inbound.start_time)
    secrets, worker = secrets_of(services.config), services.bus.number
    running = [
        without_secrets(_describe_running(one, worker, loop_time), secrets | _credentials_of(one))
        for one in exchanges[:MAX_RUNNING]
    ]
    sums = recorder.minute.sum(len(SUMS)) if recorder is not None else [0.0] * len(SUMS)
    return {
        "running": running,
        "more_running": len(exchanges) - len(running),
        "sums": sums,
        "waiting": services.router.line.waiting,
        "connections": services.connections.open if services.connections is not None else 0,
    }


def _credentials_of(exchange: Exchange[Any]) -> set[str]:
    return credentials_in((name.lower(), value) for name, value in exchange.inbound.request.headers.items())


def _describe_running(exchange: Exchange[Any], worker: int, now: float) -> JSON:
    inbound, attempt = exchange.inbound, exchange.running_attempt
    record, account = inbound.record, inbound.record.account
    tokens = attempt.progress if attempt is not None else 0
    writing = now - inbound.start_time - record.first_content if record.first_content else 0.0
    return {
        "id": record.id,
        "worker": worker,
        "model": record.model,
        "deployment": record.deployment,
        "upstream": record.upstream,
        "route": account.choice.rule if account.choice is not None else "",
        "key": account.key,
        "session": account.session,
        "agent": account.agent or inbound.request.headers.get(AGENT_HEADER, ""),
        "started": now - inbound.start_time,  # becomes a time of the wall clock in `sum_now`
        "first_token": round(record.first_content, 3) or None,
        "output_tokens": tokens,
        "tokens_per_second": round(tokens / writing, 1) if tokens and writing > 0.2 else None,
        "place": (record.queue[0] or None) if attempt is None else None,
        "attempt": record.attempts,
    }


def sum_now(answers: Iterable[JSON], now: float) -> JSON:
    """Return what all workers do. `now`: seconds since the epoch."""
    answers = list(answers)
    running = [{**one, "started": round(now - one["started"], 1)} for answer in answers for one in answer["running"]]
    running.sort(key=lambda one: (one["started"], one["id"]))
    sums = {name: sum(answer["sums"][n] for answer in answers) for n, name in enumerate(SUMS)}
    is_unpriced = sums.pop("unpriced") > 0
    minute: JSON = {name: round(value) for name, value in sums.items() if name != "cost"}
    minute["cost"] = None if is_unpriced else round(sums["cost"], 6)
    return {
        "running": running,
        "more_running": sum(answer["more_running"] for answer in answers),
        "minute": minute,
        "waiting": sum(answer["waiting"] for answer in answers),
        "connections": sum(answer["connections"] for answer in answers),
    }


# -- state -------------------------------------------------------------------------------------------------------------


class Facts:
    """What is known of the deployments, read again only if something has changed."""

    def __init__(self) -> None:
        self._config: Any = None
        self._basis: tuple[Any, ...] = ()
        self._facts: dict[str, list[JSON]] = {}

    def read(self, services: Services) -> dict[str, list[JSON]]:
        """Return deployment id → facts, each with its source and reason."""
        reports = tuple(services.discovery.reports.items())
        lessons = tuple((one["deployment"], one["field"], str(one["value"])) for one in services.lessons.report())
        basis = (reports, lessons)
        if self._config is not services.config or self._basis != basis:
            self._config, self._basis = services.config, basis
            self._facts = {one.id: _list_facts(services, one) for one in services.config.deployments}
        return self._facts


def _list_facts(services: Services, deployment: Deployment) -> list[JSON]:
    explanation = services.explain(deployment)
    facts = [{"name": name, "date": "", **fact} for name, fact in explanation["quirks"].items()]
    server = explanation.get("server")
    if server is not None:
        value = f"{server['program']} {server['version']}".strip()
        facts.append({"name": "server", "value": value, "source": "server", **_reason(server)})
    sizes = [name for name in ("context", "slots") if name in explanation]
    return facts + [
        {"name": name, "value": explanation[name], "source": "", "reason": "", "date": ""} for name in sizes
    ]


def _reason(server: Mapping[str, Any]) -> JSON:
    return {"reason": server["reason"], "date": server["date"]}


def snapshot_state(services: Services) -> JSON:
    """Return what changes of this worker's deployments: deployment id → numbers, cooldown, lessons."""
    usage, running = services.limits.usage(), services.limits.running
    out: JSON = {}
    for deployment in services.config.deployments:
        use = usage.get(deployment.id)
        out[deployment.id] = {
            "running": running.get(deployment.id, 0),
            "rpm": use.requests if use is not None else 0,
            "tpm": use.tokens if use is not None else 0,
        }
    for cooldown in services.router.cooldowns.report():
        entry = out.setdefault(cooldown["deployment"], {})
        entry["cooldown"] = {"seconds": cooldown["seconds_left"], "reason": cooldown["why"]}
    for lesson in services.lessons.report():
        entry = out.setdefault(lesson["deployment"], {})
        entry.setdefault("lessons", []).append(
            {
                "changes": f"{lesson['field']}: {lesson['value']}",
                "model": lesson["model"],
                "seconds_left": lesson["seconds_left"],
            }
        )
    return out


def sum_state(services: Services, facts: Mapping[str, list[JSON]], answers: Iterable[JSON]) -> list[JSON]:
    """Return the deployments as the page shows them, with what all workers know."""
    answers = list(answers)
    return [
        _describe_deployment(one, facts.get(one.id, []), [answer.get(one.id, {}) for answer in answers])
        for one in services.config.deployments
    ]


def _describe_deployment(deployment: Deployment, facts: list[JSON], numbers: list[JSON]) -> JSON:
    cooldowns = [one["cooldown"] for one in numbers if "cooldown" in one]
    lessons: dict[tuple[str, str], JSON] = {}
    reasons = {f"{fact['name']}: {fact['value']}": fact["reason"] for fact in facts}
    for lesson in (each for one in numbers for each in one.get("lessons", ())):
        lessons[lesson["model"], lesson["changes"]] = {**lesson, "reason": reasons.get(lesson["changes"], "")}
    running = sum(one.get("running", 0) for one in numbers)
    return {
        "id": deployment.id,
        "name": deployment.name,
        "provider": deployment.provider,
        "model": deployment.model,
        "wire": deployment.wire,
        "running": running,
        "used": {
            "rpm": sum(one.get("rpm", 0) for one in numbers),
            "tpm": sum(one.get("tpm", 0) for one in numbers),
            "max_parallel": running,
        },
        "limits": {
            "rpm": deployment.rpm,
            "tpm": deployment.tpm,
            "max_parallel": deployment.max_parallel or deployment.slots,
        },
        "problem": deployment.problem or None,
        "cooldown": max(cooldowns, key=lambda one: float(one["seconds"]), default=None),
        "facts": facts,
        "lessons": list(lessons.values()),
    }


def without_countdown(deployments: list[JSON]) -> list[JSON]:
    """Return `deployments` without what changes every second by itself."""
    return [
        {
            **one,
            "cooldown": one["cooldown"] and one["cooldown"]["reason"],
            "lessons": [(lesson["model"], lesson["changes"]) for lesson in one["lessons"]],
        }
        for one in deployments
    ]
