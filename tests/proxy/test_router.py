"""Who is asked, and who after a failure: the plan of one request, without sockets, on a clock of the test's own."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from a2py.config import Config, Settings
from a2py.deployment import Deployment
from a2py.errors import CLIENT_ERRORS, COOLDOWN_KINDS, KINDS, ApiError, Blame
from a2py.providers import PROVIDERS
from a2py.proxy import lessons as lessons_module
from a2py.proxy.cooldowns import MAX_MODELS
from a2py.proxy.fallbacks import fallbacks_for
from a2py.proxy.lessons import LESSON_SECONDS, MAX_LESSONS, WIRE, Lessons, Trial
from a2py.proxy.limits import Limits, Tokens
from a2py.proxy.places import Place
from a2py.proxy.router import (
    LONGEST_WAIT,
    MAX_ATTEMPTS,
    PATIENCE,
    Plan,
    Router,
    Step,
)
from a2py.quirks import Quirks
from a2py.upstream import NoAnswer
from tests.clock import Clock


def dep(id: str, name: str = "m", **more: Any) -> Deployment:
    return Deployment(name=name, id=id, provider="p", model="u", base="http://x", **more)


def setup(*deployments: Deployment, **settings: Any) -> tuple[Router, Config, Clock]:
    clock = Clock()
    router = Router(clock, Limits(clock), random.Random(7))
    return router, Config(deployments=deployments, settings=Settings(**settings)), clock


def walk(plan: Plan, *kinds: str, **more: Any) -> list[str]:
    """Ids of the deployments asked, while each answers with the next of `kinds`; `-` where the plan ends."""
    step: Step | None = plan.choose_first()
    out: list[Any] = []
    for kind in kinds:
        if step is None:
            return [*out, "-"]
        out.append(step.deployment.id)
        step = plan.choose_next(step.deployment, ApiError(kind, "x"), is_delivered=False, **more)
    out.append(step.deployment.id if step is not None else "-")
    return out


# -- choice ------------------------------------------------------------------------------------------------------------


def make_error(kind: str, blame: Blame) -> ApiError:
    error = ApiError(kind, "x")
    error.blame = blame
    return error


def echo(error: ApiError) -> ApiError:
    error.is_echo = True
    return error


def test_weights() -> None:
    router, config, _ = setup(dep("a", weight=3), dep("b", weight=1), dep("c", weight=0))
    counts = Counter(router.plan(config, "m").choose_first().deployment.id for _ in range(2000))
    assert counts["c"] == 0 and 1350 < counts["a"] < 1650


def test_only_weights_of_zero() -> None:
    router, config, _ = setup(dep("a", weight=0), dep("b", weight=0))
    assert {router.plan(config, "m").choose_first().deployment.id for _ in range(50)} == {"a", "b"}


def test_order() -> None:
    router, config, _ = setup(dep("a", order=2), dep("b", order=1), num_retries=0)
    assert walk(router.plan(config, "m"), "api", "api") == ["b", "a", "-"]


# -- after a failure ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_one_deployment_no_fallback(kind: str) -> None:
    """What can succeed unchanged is asked again num_retries times; a 429 never."""
    router, config, _ = setup(dep("a"), num_retries=2)
    again = KINDS[kind].retryable and kind != "rate_limit"
    assert walk(router.plan(config, "m"), kind, kind, kind) == (["a", "a", "a", "-"] if again else ["a", "-"])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_another_deployment_of_the_name(kind: str) -> None:
    """Anything but the client's own mistakes goes to the other at once."""
    router, config, _ = setup(dep("a", order=1), dep("b", order=2), num_retries=0)
    plan = router.plan(config, "m")
    first = plan.choose_first()
    step = plan.choose_next(first.deployment, ApiError(kind, "x"), is_delivered=False)
    assert step == (None if kind in CLIENT_ERRORS else Step(config.deployments[1], 0.0))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_nothing_after_delivery(kind: str) -> None:
    router, config, _ = setup(dep("a"), dep("b"), dep("f", "f"), fallbacks={"m": ("f",)}, num_retries=5)
    plan = router.plan(config, "m")
    first = plan.choose_first()
    assert plan.choose_next(first.deployment, ApiError(kind, "x"), is_delivered=True) is None
    assert plan.choose_next(first.deployment, ApiError(kind, "x"), is_delivered=True) is None


def test_waits_grow_and_are_spread() -> None:
    router, config, _ = setup(dep("a"), num_retries=8, allowed_fails=100)
    plan = router.plan(config, "m")
    plan.choose_first()
    waits = []
    for _ in range(8):
        step = plan.choose_next(config.deployments[0], ApiError("api", "x"), is_delivered=False)
        assert step is not None
        waits.append(step.delay)
    for n, wait in enumerate(waits):
        full = min(0.5 * 2**n, LONGEST_WAIT)
        assert full / 2 <= wait <= full
    assert len(set(waits)) == 8
    assert plan.choose_next(config.deployments[0], ApiError("api", "x"), is_delivered=False) is None


def test_retry_after_of_the_upstream() -> None:
    router, config, _ = setup(dep("a"), num_retries=3)
    plan = router.plan(config, "m")
    plan.choose_first()
    step = plan.choose_next(config.deployments[0], ApiError("overloaded", "x", retry_after=6), is_delivered=False)
    assert step is not None and step.delay == 6
    assert (
        plan.choose_next(config.deployments[0], ApiError("overloaded", "x", retry_after=60), is_delivered=False) is None
    )


def test_an_upstream_that_says_no() -> None:
    router, config, _ = setup(dep("a"), num_retries=3)
    plan = router.plan(config, "m")
    plan.choose_first()
    assert (
        plan.choose_next(config.deployments[0], ApiError("upstream", "x", should_retry=False), is_delivered=False)
        is None
    )


def test_retries_of_the_deployment_win() -> None:
    router, config, _ = setup(dep("a", retries=1), num_retries=5)
    assert walk(router.plan(config, "m"), "api", "api") == ["a", "a", "-"]
    router, config, _ = setup(dep("a", retries=0), num_retries=5)
    assert walk(router.plan(config, "m"), "api") == ["a", "-"]


def test_patience() -> None:
    router, config, clock = setup(dep("a"), dep("f", "f"), num_retries=5, fallbacks={"m": ("f",)})
    plan = router.plan(config, "m")
    plan.choose_first()
    clock.now += PATIENCE
    step = plan.choose_next(config.deployments[0], ApiError("api", "x"), is_delivered=False)
    assert step is not None and step.deployment.id == "f", "no second time after so long, but another may be asked"
    plan = router.plan(config, "m")
    plan.choose_first()
    clock.now += 300
    assert plan.choose_next(config.deployments[0], ApiError("api", "x"), is_delivered=False, patience=300) is None


def test_a_request_without_an_answer_is_not_repeated_unless_the_deployment_says_so() -> None:
    """It may have crashed the server; another deployment of the name is asked."""
    router, config, _ = setup(dep("a"), num_retries=3)
    assert router.plan(config, "m").choose_first()
    plan = router.plan(config, "m")
    plan.choose_first()
    assert plan.choose_next(config.deployments[0], NoAnswer("upstream", "x"), is_delivered=False) is None
    router, config, _ = setup(dep("a", retries=1), num_retries=0)
    plan = router.plan(config, "m")
    plan.choose_first()
    step = plan.choose_next(config.deployments[0], NoAnswer("upstream", "x"), is_delivered=False)
    assert step is not None and step.deployment.id == "a"
    router, config, _ = setup(dep("a"), dep("b"), num_retries=3)
    plan = router.plan(config, "m")
    step = plan.choose_first()
    following = plan.choose_next(step.deployment, NoAnswer("upstream", "x"), is_delivered=False)
    assert following is not None and {step.deployment.id, following.deployment.id} == {"a", "b"}


def test_a_retry_policy_counts_by_kind() -> None:
    policy = {"RateLimitErrorRetries": 1, "BadRequestErrorRetries": 1, "InternalServerErrorRetries": 0}
    router, config, _ = setup(dep("a"), num_retries=3, retry_policy=policy)
    assert walk(router.plan(config, "m"), "rate_limit", "rate_limit") == ["a", "a", "-"]
    assert walk(router.plan(config, "m"), "invalid_request") == ["a", "a"]
    assert walk(router.plan(config, "m"), "upstream") == ["a", "-"]
    assert walk(router.plan(config, "m"), "timeout") == ["a", "a"]  # the policy is silent: num_retries
    group = {"m": {"TimeoutErrorRetries": 0}}
    router, config, _ = setup(dep("a"), num_retries=3, retry_policy=policy, model_group_retry_policy=group)
    assert walk(router.plan(config, "m"), "timeout") == ["a", "-"]


def test_the_least_wait_between_two_tries() -> None:
    router, config, _ = setup(dep("a"), num_retries=1, retry_after=3.0)
    plan = router.plan(config, "m")
    step = plan.choose_next(plan.choose_first().deployment, ApiError("upstream", "x"), is_delivered=False)
    assert step is not None and step.delay == 3.0


def test_no_more_fallbacks_than_max_fallbacks() -> None:
    router, config, _ = setup(*(dep(name, name) for name in "abcd"), fallbacks={"a": ("b", "c", "d")}, max_fallbacks=2)
    assert walk(router.plan(config, "a"), "not_found", "not_found", "not_found") == ["a", "b", "c", "-"]


def test_an_end_to_everything() -> None:
    router, config, _ = setup(dep("a"), num_retries=1000, allowed_fails=1000)
    plan = router.plan(config, "m")
    step: Step | None = plan.choose_first()
    attempts = 0
    while step is not None:
        attempts += 1
        step = plan.choose_next(step.deployment, ApiError("api", "x"), is_delivered=False)
    assert attempts == MAX_ATTEMPTS


def test_retry_policies() -> None:
    policy = {
        "RateLimitErrorRetries": 1,
        "BadRequestErrorRetries": 0,
        "TimeoutErrorRetries": 2,
        "InternalServerErrorRetries": 0,
    }
    router, config, _ = setup(
        dep("a"),
        dep("n", "n"),
        num_retries=5,
        retry_policy=policy,
        model_group_retry_policy={"n": {"TimeoutErrorRetries": 1}},
    )
    assert walk(router.plan(config, "m"), "rate_limit", "rate_limit") == ["a", "a", "-"], "asked for in so many words"
    assert walk(router.plan(config, "m"), "timeout", "timeout", "timeout") == ["a", "a", "a", "-"]
    assert walk(router.plan(config, "m"), "api") == ["a", "-"]
    assert walk(router.plan(config, "m"), "invalid_request") == ["a", "-"]
    assert walk(router.plan(config, "n"), "timeout", "timeout") == ["n", "n", "-"]


# -- fallbacks ---------------------------------------------------------------------------------------------------------


def test_fallbacks_in_their_order() -> None:
    router, config, _ = setup(
        dep("a"),
        dep("f1", "f"),
        dep("f2", "f", order=1),
        dep("g", "g"),
        fallbacks={"m": ("f", "nobody", "g", "m")},
        num_retries=0,
    )
    assert walk(router.plan(config, "m"), "api", "rate_limit", "not_found", "api") == ["a", "f1", "f2", "g", "-"]


@pytest.mark.parametrize("kind", ["invalid_request", "image", "content_policy", "authentication", "api"])
def test_a_configured_fallback_is_asked_whatever_failed(kind: str) -> None:
    router, config, _ = setup(dep("a"), dep("f", "f"), fallbacks={"m": ("f",)}, num_retries=0)
    assert walk(router.plan(config, "m"), kind) == ["a", "f"]


def test_default_fallbacks() -> None:
    router, config, _ = setup(dep("a"), dep("f", "f"), default_fallbacks=("f",), num_retries=0)
    assert walk(router.plan(config, "m"), "api", "api") == ["a", "f", "-"]
    assert walk(router.plan(config, "f"), "api") == ["f", "-"]


def test_context_window_fallbacks() -> None:
    router, config, _ = setup(
        dep("a"),
        dep("b"),
        dep("big", "big"),
        dep("f", "f"),
        fallbacks={"m": ("f",)},
        context_window_fallbacks={"m": ("big",)},
        num_retries=3,
    )
    steps = walk(router.plan(config, "m"), "context_overflow", "context_overflow")
    assert steps[1:] == ["big", "-"] and steps[0] in ("a", "b")
    router, config, _ = setup(dep("a"), dep("f", "f"), fallbacks={"m": ("f",)}, num_retries=3)
    assert walk(router.plan(config, "m"), "context_overflow") == ["a", "-"], (
        "a fallback of another kind would only hide the overflow"
    )


def test_fallbacks_of_an_alias() -> None:
    clock = Clock()
    router = Router(clock, Limits(clock))
    config = Config(
        deployments=(dep("a"), dep("f", "f")),
        aliases={"claude-x": "m"},
        settings=Settings(fallbacks={"m": ("f",)}, num_retries=0),
    )
    assert walk(router.plan(config, "claude-x"), "api") == ["a", "f"]


@pytest.mark.parametrize(
    "table",
    [
        {"m": ("x", "y")},
        {"m": ["x", "y"]},
        [{"m": ["x", "y"]}],
        [{"n": ["z"]}, {"m": ["x", "y"]}],
        {"*": ("x", "y")},
        [{"*": ["x", "y"]}],
    ],
)
def test_shapes_of_fallbacks(table: Any) -> None:
    assert fallbacks_for(table, "m") == ("x", "y")


def test_shapes_of_no_fallbacks() -> None:
    assert (
        fallbacks_for({}, "m")
        == fallbacks_for(None, "m")
        == fallbacks_for([], "m")
        == fallbacks_for(["junk"], "m")
        == ()
    )
    assert fallbacks_for({"m": "x"}, "m") == ("x",)


# -- cooldowns ---------------------------------------------------------------------------------------------------------


def fail(router: Router, config: Config, n: int, kind: str, retry_after: float | None = None) -> None:
    router.cooldowns.record_failure(
        config.deployments[n], ApiError(kind, "x", retry_after=retry_after), config.settings
    )


def test_enough_failures_in_a_minute_cool_down() -> None:
    router, config, clock = setup(dep("a"), dep("b"), allowed_fails=2, cooldown_time=5)
    for _ in range(2):
        fail(router, config, 0, "api")
    assert not router.cooldowns.is_cooling(config.deployments[0])
    fail(router, config, 0, "api")
    assert router.cooldowns.is_cooling(config.deployments[0])
    assert {router.plan(config, "m").choose_first().deployment.id for _ in range(30)} == {"b"}
    clock.now += 5.1
    assert {router.plan(config, "m").choose_first().deployment.id for _ in range(50)} == {"a", "b"}
    assert not router.cooldowns.active


def test_old_failures_do_not_count() -> None:
    router, config, clock = setup(dep("a"), allowed_fails=1)
    fail(router, config, 0, "api")
    clock.now += 70
    fail(router, config, 0, "api")
    assert not router.cooldowns.active


def test_lasting_failures_cool_down_at_once() -> None:
    for kind in COOLDOWN_KINDS:
        router, config, _ = setup(dep("a"), allowed_fails=100)
        fail(router, config, 0, kind)
        assert router.cooldowns.report() == [{"deployment": "a", "why": kind, "seconds_left": 5.0}]


def test_a_rate_limits_own_time() -> None:
    router, config, clock = setup(dep("a"), cooldown_time=5)
    fail(router, config, 0, "rate_limit", 30)
    clock.now += 29
    assert router.cooldowns.is_cooling(config.deployments[0])
    clock.now += 2
    assert not router.cooldowns.is_cooling(config.deployments[0])
    fail(router, config, 0, "rate_limit", 86_400)
    assert router.cooldowns.report()[0]["seconds_left"] == 60


def test_the_clients_mistakes_cool_nothing() -> None:
    router, config, _ = setup(dep("a"), allowed_fails=0)
    for kind in CLIENT_ERRORS:
        fail(router, config, 0, kind)
    assert not router.cooldowns.active


@pytest.mark.parametrize("kind", sorted(set(KINDS) - CLIENT_ERRORS))
def test_what_only_an_upstreams_text_says_counts_for_nothing(kind: str) -> None:
    router, config, _ = setup(dep("a"), allowed_fails=0)
    router.cooldowns.record_failure(config.deployments[0], make_error(kind, Blame.NONE), config.settings)
    assert not router.cooldowns.active


@pytest.mark.parametrize("kind", sorted(COOLDOWN_KINDS))
def test_what_the_text_of_a_500_says_counts_as_a_500(kind: str) -> None:
    router, config, _ = setup(dep("a"), allowed_fails=1)
    for is_cooling in (False, True):
        router.cooldowns.record_failure(config.deployments[0], make_error(kind, Blame.FAILURE), config.settings)
        assert bool(router.cooldowns.active) is is_cooling


def test_a_model_that_is_refused_cools_no_other_model_of_the_deployment() -> None:
    """A wildcard deployment is one id and many models."""
    router, config, clock = setup(dep("a"), allowed_fails=0, cooldown_time=5)
    one, other = (replace(config.deployments[0], model=model) for model in ("one", "other"))
    for kind in ("not_found", "permission"):
        router.cooldowns.record_failure(one, ApiError(kind, "x"), config.settings)
        assert router.cooldowns.is_cooling(one) and not router.cooldowns.is_cooling(other)
        router.cooldowns.record_success(one)
        assert not router.cooldowns.active
    router.cooldowns.record_failure(one, ApiError("authentication", "x"), config.settings)
    assert router.cooldowns.is_cooling(one) and router.cooldowns.is_cooling(other), "the key is the deployment's"
    router.cooldowns.record_success(other)
    assert not router.cooldowns.active
    router.cooldowns.record_failure(one, ApiError("not_found", "x"), config.settings)
    clock.now += 6
    assert not router.cooldowns.is_cooling(one) and not router.cooldowns.active


def test_cooldowns_of_made_up_models_are_bounded() -> None:
    router, config, _ = setup(dep("a"), dep("b"))
    router.cooldowns.record_failure(config.deployments[1], ApiError("not_found", "x"), config.settings)
    router.cooldowns.record_failure(config.deployments[0], ApiError("rate_limit", "x"), config.settings)
    for n in range(MAX_MODELS + 10):
        router.cooldowns.record_failure(
            replace(config.deployments[0], model=f"m{n}"), ApiError("not_found", "x"), config.settings
        )
    assert len(router.cooldowns.active) == MAX_MODELS + 2
    assert router.cooldowns.is_cooling(config.deployments[1]) and router.cooldowns.is_cooling(config.deployments[0]), (
        "those of others, and of the whole deployment, stay"
    )
    assert (
        not router.cooldowns.is_cooling(replace(config.deployments[1], model="m0"))
        and ("a", f"m{MAX_MODELS + 9}") in router.cooldowns.active
    )


def test_all_cooling_down_are_asked_nevertheless() -> None:
    router, config, _ = setup(dep("a"))
    fail(router, config, 0, "rate_limit")
    assert router.plan(config, "m").choose_first().deployment.id == "a"


def test_success_ends_a_cooldown() -> None:
    router, config, _ = setup(dep("a"))
    fail(router, config, 0, "rate_limit")
    router.cooldowns.record_success(config.deployments[0])
    assert not router.cooldowns.is_cooling(config.deployments[0])


def test_disabled() -> None:
    router, config, _ = setup(dep("a"), disable_cooldowns=True, allowed_fails=0)
    fail(router, config, 0, "rate_limit")
    assert not router.cooldowns.active


# -- limits ------------------------------------------------------------------------------------------------------------


def test_a_deployment_at_its_limit_is_passed_over() -> None:
    router, config, _ = setup(dep("a", rpm=1), dep("b"))
    router.limits.reserve(config.deployments[0], Tokens())
    assert {router.plan(config, "m").choose_first().deployment.id for _ in range(30)} == {"b"}


def test_all_at_their_limit() -> None:
    router, config, _ = setup(dep("a", rpm=1), dep("f", "f"), fallbacks={"m": ("f",)})
    router.limits.reserve(config.deployments[0], Tokens())
    assert router.plan(config, "m").choose_first().deployment.id == "f"


def busy(router: Router, config: Config, demand: Tokens = Tokens()) -> tuple[int, float | None, bool | None, str]:  # noqa: B008
    with pytest.raises(ApiError) as excinfo:
        router.plan(config, "m", demand).choose_first()
    error = excinfo.value
    return error.status, error.retry_after, error.should_retry, error.message


def test_the_refusal_says_when_there_is_room() -> None:
    router, config, clock = setup(dep("a", rpm=2), fallbacks={})
    for _ in range(2):
        router.limits.reserve(config.deployments[0], Tokens())
        clock.now += 11.5
    message = (
        "'m' has reached its configured limit (rpm 2 of a). Ask again in 37 s, or raise the limit in the configuration."
    )
    assert busy(router, config) == (429, 37, None, message)
    clock.now += 37
    assert router.plan(config, "m").choose_first().deployment.id == "a", "and it was true"


def test_the_refusal_names_the_limit_of_each() -> None:
    """It says when the first of them has room."""
    router, config, clock = setup(dep("a", rpm=1), dep("b", tpm=100), dep("c", "m", max_parallel=1), dep("d", rpm=1))
    reservations = [router.limits.reserve(each, Tokens(10, 80)) for each in config.deployments]
    assert all(reservations)
    status, after, _, message = busy(router, config, Tokens(5, 50))
    assert (status, after) == (429, 1), "a place may be free at any moment"
    assert "(rpm 1 of a, tpm 100 of b, max_parallel_requests 1 of c)" in message
    router, config, clock = setup(dep("a", rpm=1), dep("b", tpm=100))
    assert all(router.limits.reserve(each, Tokens(10, 80)) for each in config.deployments)
    clock.now += 59.5
    assert busy(router, config, Tokens(5, 50))[1] == 1


def test_a_request_larger_than_its_limit_is_not_asked_again() -> None:
    router, config, _ = setup(dep("a", tpm=1000), dep("b", tpm=900))
    message = (
        "'m' takes no request of this size: its input has about 2000 tokens, more than the configured limit allows in a minute"
        " (tpm 1000 of a, tpm 900 of b). Shorten the request, or raise the limit in the configuration."
    )
    assert busy(router, config, Tokens(2000, 10)) == (429, None, False, message)
    assert router.plan(config, "m", Tokens(950, 10)).choose_first().deployment.id == "a"


def test_a_place_that_others_took_meanwhile() -> None:
    """There was room when the deployment was picked."""
    router, config, clock = setup(dep("a", rpm=1), dep("b", rpm=1), dep("f", "f"), fallbacks={"m": ("f",)})
    plan = router.plan(config, "m")
    first = plan.choose_first().deployment
    assert router.limits.reserve(first, Tokens())
    second = plan.choose_first().deployment
    assert {first.id, second.id} == {"a", "b"}
    assert router.limits.reserve(second, Tokens())
    assert plan.choose_first().deployment.id == "f"
    clock.now += 60
    assert plan.choose_first().deployment.id == "f", "the name that the plan has come to"
    router, config, _ = setup(dep("a", rpm=1))
    plan = router.plan(config, "m")
    assert router.limits.reserve(plan.choose_first().deployment, Tokens())
    with pytest.raises(ApiError) as excinfo:
        plan.choose_first()
    assert excinfo.value.retry_after == 60
    assert not router.cooldowns.active, "its own limit is no failure of the upstream"


def test_the_places_of_one_request_end() -> None:
    router, config, _ = setup(dep("a"))
    plan = router.plan(config, "m")
    for _ in range(MAX_ATTEMPTS):
        plan.choose_first()
    with pytest.raises(ApiError) as excinfo:
        plan.choose_first()
    assert (
        excinfo.value.status == 429
        and excinfo.value.retry_after == 1
        and "others took its last places" in excinfo.value.message
    )


# -- lessons -----------------------------------------------------------------------------------------------------------


def test_lessons_hold_an_hour() -> None:
    clock = Clock()
    lessons = Lessons(clock)
    one, other = dep("a"), dep("b")
    assert lessons.apply(one) is one
    lessons.learn(one, {"stream_usage": False})
    clock.now += 1800
    lessons.learn(one, {"sampling": frozenset({"top_p"})})
    taught = lessons.apply(one)
    assert taught.quirks.stream_usage is False and taught.quirks.sampling == {"top_p"} and one.quirks.stream_usage
    assert lessons.apply(other) is other
    assert [(row["field"], row["value"], row["seconds_left"]) for row in lessons.report()] == [
        ("stream_usage", False, 1800),
        ("sampling", ["top_p"], 3600),
    ]
    clock.now += LESSON_SECONDS - 1800
    taught = lessons.apply(one)
    assert taught.quirks.stream_usage is True and taught.quirks.sampling == {"top_p"}
    clock.now += LESSON_SECONDS
    assert lessons.apply(one) is one and not lessons.report()


@pytest.mark.parametrize(
    ("provider", "wire", "base", "after"),
    [
        ("openai", "responses", "https://api.openai.com/v1", "https://api.openai.com/v1"),
        ("deepseek", "native", PROVIDERS["deepseek"].native, PROVIDERS["deepseek"].base),
        ("anything", "native", "http://host:9", "http://host:9/v1"),
    ],
)
def test_a_wire_that_is_not_spoken(provider: str, wire: str, base: str, after: str) -> None:
    lessons = Lessons(Clock())
    fields: dict[str, Any] = {
        "overrides": {"stream_usage": False},
        "fixed_quirks": frozenset({"stream_usage"}),
        "quirks": Quirks(stream_usage=False),
    }
    one = replace(dep("a"), provider=provider, wire=wire, base=base, **fields)
    lessons.learn(one, {WIRE: "chat"})
    lessons.learn(one, {"parallel_tool_calls": False})
    taught = lessons.apply(one)
    assert (taught.wire, taught.base) == ("chat", after)
    assert taught.quirks.stream_usage is False and taught.quirks.parallel_tool_calls is False


def test_lessons_are_bounded() -> None:
    lessons = Lessons(Clock())
    for n in range(MAX_LESSONS + 10):
        lessons.learn(dep(f"d{n}"), {"stream_usage": False})
    rows = lessons.report()
    assert (
        len(rows) == MAX_LESSONS and rows[0]["deployment"] == "d10" and rows[-1]["deployment"] == f"d{MAX_LESSONS + 9}"
    )


def test_a_wildcards_models_push_out_nobody_elses_lessons() -> None:
    """Their names are the clients'."""
    lessons = Lessons(Clock())
    lessons.learn(dep("other"), {"stream_usage": False})
    for n in range(3 * MAX_LESSONS):
        lessons.learn(replace(dep("wild"), model=f"m{n}"), {"stream_usage": False})
    rows = lessons.report()
    assert len(rows) == lessons_module.MAX_MODELS + 1 and rows[0]["deployment"] == "other"
    assert {row["model"] for row in rows[1:]} == {
        f"m{n}" for n in range(3 * MAX_LESSONS - lessons_module.MAX_MODELS, 3 * MAX_LESSONS)
    }


def test_expired_lessons_are_not_kept() -> None:
    clock = Clock()
    lessons = Lessons(clock)
    for n in range(10):
        lessons.learn(dep(f"d{n}"), {"stream_usage": False})
    clock.now += LESSON_SECONDS
    lessons.learn(dep("new"), {"stream_usage": False})
    assert list(lessons._lessons) == [("new", "u")]


def test_lessons_about_one_quirk_add_up() -> None:
    clock = Clock()
    lessons = Lessons(clock)
    lessons.learn(dep("a"), {"max_tokens_limit": 512})
    lessons.learn(dep("a"), {"max_tokens_limit": 4096, "sampling": frozenset({"top_p"})})
    lessons.learn(dep("a"), {"sampling": frozenset({"temperature"})})
    assert {row["field"]: row["value"] for row in lessons.report()} == {"max_tokens_limit": 512, "sampling": []}
    clock.now += LESSON_SECONDS
    lessons.learn(dep("a"), {"max_tokens_limit": 4096})
    assert {row["field"]: row["value"] for row in lessons.report()} == {"max_tokens_limit": 4096}, (
        "an old lesson does not count for ever"
    )


# -- the lessons of one request ----------------------------------------------------------------------------------------

SENT_FIELDS = frozenset({"max_tokens", "stream_options", "temperature"})


def cap(limit: int, **more: Any) -> ApiError:
    return ApiError("max_tokens", "x", field="max_tokens", limit=limit, **more)


def test_a_request_uses_its_lesson_at_once_and_others_only_once_it_has_succeeded() -> None:
    lessons = Lessons(Clock())
    one, other = dep("a"), dep("b")
    trial = Trial(lessons)
    assert trial.learn(one, one, cap(512), SENT_FIELDS) == ("max_tokens_limit",)
    assert trial.apply(one).quirks.max_tokens_limit == 512
    assert not lessons.report() and trial.apply(other) is other
    trial.confirm(other)
    assert not lessons.report(), "the success of another deployment proves nothing"
    trial.confirm(one)
    assert lessons.apply(one).quirks.max_tokens_limit == 512


def test_what_proves_nothing_is_never_kept() -> None:
    lessons = Lessons(Clock())
    trial = Trial(lessons)
    for error in (echo(cap(512)), ApiError("max_tokens", "x", field="room", limit=256)):
        assert trial.learn(dep("a"), trial.apply(dep("a")), error, SENT_FIELDS)
    assert trial.apply(dep("a")).quirks.max_tokens_limit == 256
    trial.confirm(dep("a"))
    assert not lessons.report()


def test_a_lesson_that_did_not_help_is_not_kept() -> None:
    lessons = Lessons(Clock())
    trial = Trial(lessons)
    unknown = ApiError("unsupported", "x", field="stream_options")
    assert trial.learn(dep("a"), dep("a"), cap(512), SENT_FIELDS)
    assert trial.learn(dep("a"), trial.apply(dep("a")), unknown, SENT_FIELDS) == ("stream_usage",)
    assert trial.learn(dep("a"), trial.apply(dep("a")), unknown, SENT_FIELDS) == ()
    trial.confirm(dep("a"))
    assert [row["field"] for row in lessons.report()] == ["max_tokens_limit"]
    trial.confirm(dep("a"))
    assert len(lessons.report()) == 1


def test_an_error_is_compared_with_what_its_attempt_sent() -> None:
    """Another request has learned the same meanwhile, or more, or something else."""
    lessons = Lessons(Clock())
    one = dep("a")
    early, late = Trial(lessons), Trial(lessons)
    attempt = late.apply(one)
    early.learn(one, one, cap(512), SENT_FIELDS)
    early.confirm(one)
    assert late.learn(one, attempt, cap(4096), SENT_FIELDS) == ("max_tokens_limit",)
    assert late.apply(one).quirks.max_tokens_limit == 512, "what others know by now counts"
    assert late.learn(one, attempt, ApiError("unsupported", "x", field="stream_options"), SENT_FIELDS) == (
        "stream_usage",
    )
    assert late.apply(one).quirks.stream_usage is False
    late.confirm(one)
    assert {row["field"]: row["value"] for row in lessons.report()} == {"max_tokens_limit": 512, "stream_usage": False}


def test_a_wire_is_changed_once() -> None:
    lessons = Lessons(Clock())
    one = dep("a", wire="responses")
    trial = Trial(lessons)
    assert not trial.has_changed_wire(one)
    trial.use(one, ApiError("not_found", "x"), {WIRE: "chat"})
    assert trial.has_changed_wire(one) and trial.apply(one).wire == "chat" and not lessons.report()
    trial.confirm(one)
    assert lessons.apply(one).wire == "chat"


# -- waiting -----------------------------------------------------------------------------------------------------------


async def wait_for_room(router: Router, plan: Plan, place: Place) -> Step:
    """Let `plan` wait for the place that is held, and release it."""
    asking = asyncio.ensure_future(plan.begin())
    await asyncio.sleep(0)
    assert router.line.waiting == 1
    place.release()
    return await asking


async def test_a_request_without_fallbacks_has_none_after_it_has_waited() -> None:
    router, config, _ = setup(dep("a", max_parallel=1), dep("b", "spare"), fallbacks={"m": ("spare",)}, num_retries=0)
    place = router.limits.places.take(config.deployments[0])
    plan = router.plan(config, "m")
    plan.forgo_fallbacks()
    step = await wait_for_room(router, plan, place)
    assert step.deployment.id == "a"
    assert plan.choose_next(step.deployment, ApiError("upstream", "x"), is_delivered=False) is None
    plan.close()


async def test_fallbacks_that_were_full_are_asked_after_a_wait() -> None:
    spare = dep("b", "spare", max_parallel=1)
    router, config, _ = setup(dep("a", max_parallel=1), spare, fallbacks={"m": ("spare",)}, num_retries=0)
    first, second = (router.limits.places.take(one) for one in config.deployments)
    plan = router.plan(config, "m")
    step = await wait_for_room(router, plan, first)
    second.release()
    after = plan.choose_next(step.deployment, ApiError("upstream", "x"), is_delivered=False)
    assert after is not None and after.deployment.id == "b"
    plan.close()


async def step_after_waiting(router: Router, plan: Plan, step: Step, place: Place) -> Step | None:
    """Let `step` fail, and `plan` wait for the place that is held. Release it, and return the next step."""
    asking = asyncio.ensure_future(plan.follow(step.deployment, ApiError("api", "x"), is_delivered=False))
    await asyncio.sleep(0)
    assert router.line.waiting == 1
    place.release()
    return await asking


async def test_a_look_at_a_full_fallback_gives_no_retries_back() -> None:
    full = dep("b", order=2, max_parallel=1), dep("f", "spare", max_parallel=1)
    router, config, _ = setup(dep("a", order=1), *full, fallbacks={"m": ("spare",)}, num_retries=1, allowed_fails=9)
    places = [router.limits.places.take(one) for one in full]
    plan = router.plan(config, "m")
    step = await plan.follow(plan.choose_first().deployment, ApiError("api", "x"), is_delivered=False)
    assert step is not None and step.deployment.id == "a", "its one retry"
    last = await step_after_waiting(router, plan, step, places[0])
    assert last is not None and last.deployment.id == "b"
    assert plan.choose_next(last.deployment, ApiError("api", "x"), is_delivered=False) is None
    plan.close()


async def test_a_fallback_that_was_full_at_the_first_look_is_asked_after_a_wait() -> None:
    full = dep("b", order=2, max_parallel=1), dep("f", "spare", max_parallel=1)
    router, config, _ = setup(dep("a", order=1), *full, fallbacks={"m": ("spare",)}, num_retries=0)
    places = [router.limits.places.take(one) for one in full]
    plan = router.plan(config, "m")
    last = await step_after_waiting(router, plan, plan.choose_first(), places[0])
    assert last is not None and last.deployment.id == "b"
    places[1].release()
    step = plan.choose_next(last.deployment, ApiError("api", "x"), is_delivered=False)
    assert step is not None and step.deployment.id == "f"
    plan.close()


def test_a_fallback_that_was_full_is_asked_after_the_next_one() -> None:
    names = ("one", "two")
    router, config, _ = setup(
        dep("a"), dep("f", "one", max_parallel=1), dep("g", "two"), fallbacks={"m": names}, num_retries=0
    )
    place = router.limits.places.take(config.deployments[1])
    plan = router.plan(config, "m")
    step = plan.choose_next(plan.choose_first().deployment, ApiError("api", "x"), is_delivered=False)
    assert step is not None and step.deployment.id == "g"
    place.release()
    step = plan.choose_next(step.deployment, ApiError("api", "x"), is_delivered=False)
    assert step is not None and step.deployment.id == "f"
    assert plan.choose_next(step.deployment, ApiError("api", "x"), is_delivered=False) is None
    plan.close()


async def test_a_retry_without_room_is_none() -> None:
    """The deployment was full in the moment in which it could have been asked again."""
    one = dep("a", order=1, rpm=1)
    full = dep("b", order=2, max_parallel=1)
    router, config, clock = setup(one, full, num_retries=1, enforce_limits=True, allowed_fails=9)
    place = router.limits.places.take(full)
    plan = router.plan(config, "m")
    first = plan.choose_first()
    reservation = router.limits.reserve(first.deployment, Tokens(), plan.place)
    assert reservation is not None
    last = await step_after_waiting(router, plan, first, place)
    assert last is not None and last.deployment.id == "b"
    clock.now += 61
    step = plan.choose_next(last.deployment, ApiError("api", "x"), is_delivered=False)
    assert step is not None and step.delay, "its one retry"
    plan.close()
