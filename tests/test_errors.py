"""Error kinds and the envelope."""

from __future__ import annotations

import orjson
import pytest

from a2py.errors import KINDS, ApiError, unknown_model

#: docs.claude.com, API errors: type → status.
STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_a_published_type(kind: str) -> None:
    error = ApiError(kind, "m")
    assert error.type in STATUSES
    assert error.status == KINDS[kind].status
    assert error.retryable is KINDS[kind].retryable
    assert error.retryable == (error.status in (408, 429) or error.status >= 500)
    if kind not in ("upstream", "method_not_allowed"):
        assert STATUSES[error.type] == error.status


def test_every_published_type_can_be_said() -> None:
    assert {kind.type for kind in KINDS.values()} == set(STATUSES)


def test_the_envelope() -> None:
    error = ApiError("rate_limit", "slow down", status=430)
    assert error.status == 430
    assert orjson.loads(error.body("req_1")) == {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "slow down"},
        "request_id": "req_1",
    }
    assert error.envelope("req_1", "overloaded_error")["error"]["type"] == "overloaded_error"
    assert str(error) == "slow down"
    assert repr(error) == "ApiError('rate_limit', 'slow down', status=430)"


def test_an_unknown_kind_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        ApiError("nonsense", "m")


@pytest.mark.parametrize(
    ("seconds", "header"),
    [
        (0, "0"),
        (0.2, "1"),
        (1, "1"),
        (1.0001, "2"),
        (59.5, "60"),
        (-3, "0"),
        (float("inf"), None),
        (float("nan"), None),
        (None, None),
    ],
)
def test_retry_after_is_whole_seconds(seconds: float | None, header: str | None) -> None:
    assert ApiError("rate_limit", "m", retry_after=seconds).headers().get("retry-after") == header


@pytest.mark.parametrize(("flag", "header"), [(True, "true"), (False, "false"), (None, None)])
def test_should_retry(flag: bool | None, header: str | None) -> None:
    assert ApiError("api", "m", should_retry=flag).headers().get("x-should-retry") == header


def test_any_message_can_be_written() -> None:
    error = ApiError("api", "half \ud83d of a pair\n\x00 \u2028")
    assert orjson.loads(error.body("req_\u00e9"))["error"]["message"] == "half ? of a pair\n\x00 \u2028"
    assert error.field == ""
    assert error.limit == 0
    extra = ApiError("max_tokens", "m", field="max_tokens", limit=4096)
    assert (extra.field, extra.limit) == ("max_tokens", 4096)


def test_secrets_are_hidden() -> None:
    error = ApiError("api", "the key sk-1234 at sk-1234?x").hide(["sk-1234", "other"])
    assert error.message == "the key … at …?x" and error.args == (error.message,) and str(error) == error.message


def test_openais_clients_get_their_own_shape_and_status() -> None:
    error = ApiError("not_found", "no such model", field="model")
    error.code = "model_not_found"
    expected = {
        "message": "no such model",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    assert error.openai_envelope() == {"error": expected} and error.openai_status == 404
    assert unknown_model("no such model").openai_envelope() == error.openai_envelope()
    assert unknown_model("m").should_retry is None and unknown_model("m", should_retry=False).should_retry is False
    busy = ApiError("overloaded", "busy")
    assert busy.openai_status == 503 and busy.openai_envelope()["error"]["param"] is None
