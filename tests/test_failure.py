"""Errors of upstreams: the rules and their goldens, bodies of every form, waiting times, what must not be repeated, errors inside a 200."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.errors import KINDS, ApiError
from a2py.wires import failure
from a2py.wires.refusal import body, scrub, waiting
from a2py.wires.refusal.body import Found, unfold, unfold_value
from tests import golden

GOLDENS = golden.read(golden.FOLDER / "errors.md")
DOCS = Path(__file__).parents[1] / "docs" / "errors.md"


def of(value: Any, status: int = 400, headers: dict[str, str] | None = None, **known: Any) -> ApiError:
    return failure.read(status, headers or {}, orjson.dumps(value), **known)


def said(message: str, status: int = 400, **known: Any) -> ApiError:
    return of({"error": {"message": message}}, status, **known)


# -- rules and goldens ---------------------------------------------------------------------------------------------------


def golden_rule(case: golden.Case) -> str:
    match = re.search(r"Rule `([\w.]+)`", case.prose)
    assert match, f"{case.id}: names no rule"
    return match[1]


@pytest.mark.parametrize("case", GOLDENS, ids=lambda case: case.title)
def test_a_golden_is_decided_by_the_rule_that_it_names(case: golden.Case) -> None:
    """And becomes what its client block says (test_goldens.py runs the same through the wire)."""
    blocks = {block.name: block for block in case.blocks}
    status, *options = blocks["upstream"].options
    data = golden.upstream_bytes(blocks["upstream"])
    rule, _ = failure.find(int(status), unfold(data), "")
    assert (rule.name if rule else "status") == golden_rule(case)
    headers = {name: value for name, _, value in (option.partition("=") for option in options)}
    assert golden.error_lines(failure.read(int(status), headers, data)) == blocks["client"].lines


def test_each_rule_has_a_golden() -> None:
    """But those for errors inside a 200 and for one provider alone, which stand below."""
    proven = {golden_rule(case) for case in GOLDENS}
    rules = [rule.name for rule in failure.rules() if not rule.name.startswith("inside.") and not rule.provider]
    assert [name for name in rules if name not in proven] == []
    assert len(set(rules)) == len(rules)


def test_each_rule_names_who_says_it_and_when() -> None:
    for rule in failure.rules():
        assert rule.kind in KINDS
        assert rule.text or rule.codes
        assert re.search(r"20\d\d|many$|adds itself$", rule.seen), f"{rule.name}: seen by whom, and when?"


@pytest.mark.parametrize("status", [*failure.STATUSES, 400, 418, 422, 451, 500, 501, 507, 599])
def test_a_bare_status(status: int) -> None:
    error = failure.read(status, {}, b"", provider="acme")
    assert error.kind == failure.STATUSES.get(status, "invalid_request" if status < 500 else "api")
    kept = status in failure.KEPT or status not in failure.STATUSES
    assert error.status == (status if kept else KINDS[error.kind].status)
    assert "acme" in error.message


@pytest.mark.parametrize(("status", "kind"), [(302, "upstream"), (0, "api"), (-1, "api"), (99, "upstream"), (1000, "api")])
def test_a_status_that_is_none(status: int, kind: str) -> None:
    error = failure.read(status, {}, b"oops")
    assert (error.kind, error.status, error.message) == (kind, KINDS[kind].status, "oops")


def test_a_provider_of_its_own_kind() -> None:
    quota = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    assert of(quota, 429, provider="azure").kind == "rate_limit"
    assert of(quota, 429, provider="openai").kind == "billing"
    for status in (400, 413):
        assert failure.read(status, {}, b" ", provider="cerebras").message == "prompt is too long"
        assert failure.read(status, {}, b"", provider="groq").kind != "context_overflow"
    assert failure.read(500, {}, b"", provider="cerebras").kind == "api"
    assert failure.read(400, {}, b"{}", provider="cerebras").kind == "invalid_request"


def test_whose_fault_it_is_stands_in_front() -> None:
    assert said("too many requests", 429, provider="groq").message == "groq: too many requests"
    assert said("Bad schema", provider="groq").message == "Bad schema"  # about the request: native upstreams' words stay theirs
    assert failure.read(404, {}, b"<title>404</title>", provider="acme").message == (
        "acme answered with a web page (HTTP 404): 404 (check `api_base` and the model's name)"
    )
    assert failure.read(405, {}, b"", provider="acme").message.endswith("(check `api_base` and the model's name)")
    assert (
        of({"error": {"code": "odd", "type": "odder"}}, 500, provider="acme").message
        == "acme answered HTTP 500 without saying why (odd, odder)"
    )


def test_a_5xx_is_not_the_clients_fault_though_it_is_worded_so() -> None:
    error = said("requires --jinja", 503)
    assert (error.kind, error.status, error.should_retry) == ("api", 503, False)
    assert said("Unknown parameter: 'stream_options'", 500).kind == "unsupported"  # a lesson cures it


def test_should_retry() -> None:
    assert said("nope", headers={"X-Should-Retry": "true"}).should_retry is True
    assert said("nope", headers={"x-should-retry": "false"}).should_retry is False
    assert said("nope", headers={"x-should-retry": "perhaps"}).should_retry is None
    assert said("invalid api key", 401, headers={"x-should-retry": "true"}).should_retry is False
    assert of({"error": {"message": "Failed", "code": "tool_use_failed"}}).should_retry is True


def test_no_wait_for_what_no_wait_cures() -> None:
    size = "on tokens per minute (TPM): Limit 6000, Requested 14810"
    assert said(size, 429, headers={"retry-after": "9"}).retry_after is None
    assert said("bad", 400, headers={"retry-after": "9"}).retry_after is None
    assert said("slow down", 429, headers={"Retry-After": "9"}).retry_after == 9


def test_room_is_worth_having_from_1024_tokens_or_half_of_what_was_asked() -> None:
    def room(used: int, out: int) -> ApiError:
        return said(f"input length and `max_tokens` exceed context limit: {used} + {out} > 10000")

    assert (room(8976, 32000).kind, room(8976, 32000).limit) == ("max_tokens", 1024)
    assert room(8977, 32000).message == "prompt is too long"
    assert (room(9990, 20).field, room(9990, 20).limit) == ("room", 10)
    assert room(9991, 20).kind == "context_overflow"
    assert room(10000, 1).message == "prompt is too long"
    assert room(5000, 10).message == "prompt is too long"  # the numbers contradict the sentence
    assert room(10001, 1).message == "prompt is too long: 10001 tokens > 10000 maximum"


def test_the_cap_names_the_model_where_it_is_known() -> None:
    text = "max_tokens is too large: 32000. This model supports at most 16384 completion tokens, whereas you provided 32000."
    assert (
        said(text, model="gpt-4o").message == "max_tokens: 32000 > 16384, which is the maximum allowed number of output tokens for gpt-4o"
    )


# -- forms of bodies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "sentences"),
    [
        (b'"bare"', ["bare"]),
        (b"17", []),
        (b"null", []),
        (b"[]", []),
        (b'[{"error":{"message":"in an array"}}]', ["in an array"]),
        (b'{"error":"a string"}', ["a string"]),
        (b'{"error":{"error":{"message":"deep"}}}', ["deep"]),
        (b'{"message":"outer","error":{"message":"inner"}}', ["outer", "inner"]),
        (b'{"message":"the whole story","error":"whole"}', ["the whole story"]),
        (b'{"error":"whole","detail":"the whole story"}', ["the whole story"]),
        (b'{"detail":"Not Found"}', ["Not Found"]),
        (b'{"detail":[{"loc":["body","a",0],"msg":"bad"},{"loc":[],"msg":"worse"}]}', ["a.0: bad", "worse"]),
        (b'{"detail":{"error":{"message":"x"}}}', ["x"]),
        (b'{"errors":[{"message":"one"},{"message":"two"}]}', ["one", "two"]),
        (b'{"tpe":"fail","errors":[{"description":"writer","key":"fail"}]}', ["writer"]),
        (b'{"title":"T","detail":"D"}', ["D"]),
        (b'{"title":"T"}', ["T"]),
        (b'{"error":{"message":"{\\"error\\":{\\"message\\":\\"json in json\\"}}"}}', ["json in json"]),
        (b'{"error":{"message":"{not json"}}', ["{not json"]),
        (b'{"error":{"message":"half a pair: \\ud83d"}}', ["half a pair: \ufffd"]),
        (b"plain text", ["plain text"]),
        (b"\xef\xbb\xbfwith a BOM", ["with a BOM"]),
        (b"\xff\xfe\x00", ["\ufffd\ufffd\x00"]),
        (b"<html><head><title>Bad &amp; ugly</title>", ["Bad & ugly"]),
        (b"<html><style>p{}</style><p>No\n title</p><script>x</script>", ["No title"]),
        (b"<", []),
        (b'event: error\ndata: {"message":"from a stream"}\n\n', ["from a stream"]),
        (b'data: [DONE\ndata: {"message":"second"}', ["second"]),
        (b"data: nothing", ["data: nothing"]),
        (b'{"error":{"message":"cut of\\"f\\n here","type":"t","code":"c","param":"p', ['cut of"f  here']),
        (b'"a bare string that was cu', ["a bare string that was cu"]),
        (b'{"unknown":', []),
        (b"", []),
    ],
)
def test_forms(data: bytes, sentences: list[str]) -> None:
    assert unfold(data).sentences == sentences


def test_codes_param_and_status() -> None:
    found = unfold(b'{"error":{"code":"c","type":"t","param":"p","status":429,"innererror":{"code":"inner"}},"code":true}')
    assert (found.codes, found.param, found.status) == (["c", "t", "429", "inner"], "p", 429)
    cut = unfold(b'{"error":{"message":"m","code":"c","param":"p')
    assert (cut.codes, cut.param) == (["c"], "p")
    assert unfold(b'{"code":"404","message":"m"}').status == 404
    assert unfold(b'{"code":200,"status":600,"error":{"code":503}}').status == 503
    assert unfold(b'{"error":{"param":"a sentence"}}').sentences == ["a sentence"]
    assert unfold(b'{"errors":[{"param":"p"},{"param":"q"}]}').param == "p"


def test_a_body_is_bounded() -> None:
    found = unfold(b'{"error":{"message":"' + b"x" * 1_000_000)
    assert len(found.text) <= body.LONG
    assert len(found.line) <= body.LINE
    deep: Any = "bottom"
    for _ in range(30):
        deep = {"error": deep}
    assert unfold_value(deep).sentences == []
    many = unfold_value([{"message": f"number {n}", "code": n} for n in range(100)])
    assert len(many.sentences) == body.SENTENCES
    assert len(unfold_value([[{"code": n} for n in range(8)]] * 8).codes) == body.CODES
    assert len(of({"error": {"message": "word " * 3000}}).message) <= scrub.LIMIT


# -- waiting -------------------------------------------------------------------------------------------------------------

NOW = "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "999999999"}, waiting.LONGEST),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "2s"}, 2),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Sun, 06 Nov 1994 08:50:07 GMT"}, None),
        ({"retry-after": "Sun, 06 Nov 1994 08:50:07 GMT", "date": NOW}, 30),
        ({"retry-after": "Sun, 06 Nov 1994 08:00:00 GMT", "date": NOW}, 0),
        ({"retry-after": "Sun, 06 Nov 1994 08:50:07 -0000", "date": NOW}, 30),
        ({"retry-after": "Sun, 06 Nov 9999999 08:50:07 GMT", "date": NOW}, None),
        ({"retry-after": "Sun, 06 Nov 1994 08:50:07 GMT", "date": "yesterday"}, None),
        ({"x-ratelimit-reset": "1"}, 1),
        ({"ratelimit-reset": "12"}, 12),
        ({"x-ratelimit-reset": "1m30s"}, 90),
        ({"x-ratelimit-reset": "784111787"}, None),
        ({"x-ratelimit-reset": "1754667660000"}, None),
        ({"x-ratelimit-reset": "1754667660000", "date": "Fri, 08 Aug 2025 15:40:00 GMT"}, 60),
        ({"x-ratelimit-reset": "1754667660", "date": "Fri, 08 Aug 2025 15:40:00 GMT"}, 60),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": "6m0s"}, None),
        ({"x-ratelimit-remaining-tokens": "0"}, None),
        (
            {
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "250ms",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "2s",
            },
            2,
        ),
    ],
)
def test_waiting_from_headers(headers: dict[str, str], seconds: float | None) -> None:
    assert waiting.seconds(headers, Found()) == seconds
    error = failure.read(429, {name.title(): value for name, value in headers.items()}, b"")
    assert error.retry_after == seconds
    assert ("retry-after" in error.headers()) is (seconds is not None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Please try again in 7m12.5s.", 432.5),
        ("Please try again in 350ms.", 0.35),
        ("Please retry after 20 seconds.", 20),
        ("Retry starting from ~1s (X-RateLimit-Reset header)", 1),
        ("retry-after: 5 s", 5),
        ("try your request again in 2 minutes", 120),
        ("try again in 1 hour", 3600),
        ("try again in 500 milliseconds", 0.5),
        ("try again in 1d", 86400),
        ("Please try again later.", None),
        ("limited to 10s of requests", None),
    ],
)
def test_waiting_from_sentences(text: str, seconds: float | None) -> None:
    found = Found()
    found.say(text)
    assert waiting.seconds({}, found) == pytest.approx(seconds)


def test_waiting_from_the_body() -> None:
    info = [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": "34.07s"}]}}]
    assert of(info, 429).retry_after == 34.07
    reset = {"error": {"message": "Rate limit exceeded", "metadata": {"headers": {"X-RateLimit-Reset": "1754667660000"}}}}
    assert of(reset, 429).retry_after is None
    assert of(reset, 429, {"date": "Fri, 08 Aug 2025 15:40:00 GMT"}).retry_after == 60
    assert of({"error": {"metadata": {"headers": {"x": "y"}}}}, 429).retry_after is None
    assert of({"error": {"metadata": {"headers": ["x"]}}}, 429).retry_after is None


# -- what must not be repeated -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://user:pass@example.com/a?key=abc#frag.", "see https://example.com/a"),
        ("https://example.com/a is fine", "https://example.com/a is fine"),
        ("key sk-proj-abc123 refused", "key … refused"),
        ("key gsk_abc refused", "key … refused"),
        ("masked sk-ab***yz.", "masked …"),
        ("Authorization: Bearer abcdef1234 was wrong", "Authorization: Bearer … was wrong"),
        ("Bearer authentication is needed", "Bearer authentication is needed"),
        ("Incorrect API key provided: test. You", "Incorrect API key provided: … You"),
        ('"api_key": "hunter2"', '"api_key": "…"'),
        ("AIzaSyA1234567890 and ghp_0123456789ab", "… and …"),
        ("token eyJhbGciOi.eyJzdWIi.c2ln", "token …"),
        ("fw_3Zabc and hf_abcdefghijklmnopqr", "… and …"),
        ("a key-value pair, a risk-based task, api_key_invalid", "a key-value pair, a risk-based task, api_key_invalid"),
        ("in organization org-AbC123xyz, proj_99abcdef", "in organization org-…, proj-…"),
        ("0123456789abcdef0123456789abcdef.AbC", "…"),
        ("data:image/png;base64,iVBORw0KGgo= is broken", "data:… is broken"),
        ("A" * 100, "…"),
        ("model meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8", "model meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8"),
        ("id 3b9748d8-1d85-40e8-8573-0eeaa63a4b63", "id 3b9748d8-1d85-40e8-8573-0eeaa63a4b63"),
        ("boom\n    at fn (/srv/app.js:1:2)", "boom"),
        ('boom\n  File "/srv/app.py", line 1', "boom"),
        ("two\n\tlines\x00", "two lines"),
    ],
)
def test_scrub(text: str, shown: str) -> None:
    assert scrub.scrub(text) == shown


def test_the_secret_that_was_sent_is_known_exactly() -> None:
    assert said("key hunter2! is odd", secrets=("hunter2!", "", "abc")).message == "key … is odd"
    assert "hunter2!" not in failure.read(500, {}, b'{"error":{"code":"hunter2!"}}', secrets=("hunter2!",)).message


def test_phrases_with_a_meaning_are_said_only_where_they_are_meant() -> None:
    assert said("x-api-key, maximum context length, image exceeds").message == "x api key, maximum-context-length, image exceeds"
    assert said("bad tool: image exceeds api limit, x-api-key", 500, provider="a").message == "bad tool: image exceeds api limit, x api key"
    assert scrub.defuse("ContextWindowExceededError", "api") == "Context-WindowExceededError"
    assert scrub.defuse("prompt is too long", "context_overflow") == "prompt is too long"
    assert scrub.defuse("image exceeds", "image") == "image exceeds"
    assert "x-api-key" not in said("invalid x-api-key", 401).message


# -- errors inside a 200 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"choices": [], "usage": {"total_tokens": 3}},
        {"choices": [{"delta": {}}], "code": 17, "message": "x"},
        {"error": None, "id": "x"},
        {"error": {}, "choices": []},
        {"base_resp": {"status_code": 0, "status_msg": "success"}},
        {"base_resp": "odd"},
        {"code": 0, "message": "ok"},
        {"code": 200, "message": "success"},
        {"code": "17"},
        {"message": {"role": "assistant"}},
        {"type": "response.created", "response": {"error": None}},
        {"detail": None},
    ],
)
def test_no_error_inside(payload: dict[str, Any]) -> None:
    assert failure.inside(payload) is None


@pytest.mark.parametrize(
    ("payload", "kind", "status"),
    [
        ({"error": {"message": "m", "code": 429}}, "rate_limit", 429),
        ({"error": {"message": "m", "code": "500"}}, "overloaded", 529),
        ({"error": {"message": "m", "code": 504}}, "overloaded", 529),
        ({"error": {"message": "m", "type": "server_error"}}, "api", 500),
        ({"error": "m"}, "api", 500),
        ({"error": True}, "api", 500),
        ({"error": {"message": "maximum context length is 5 tokens"}}, "context_overflow", 400),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "overloaded", 529),
        ({"type": "error", "error": {"type": "invalid_request_error", "message": "m"}}, "invalid_request", 400),
        ({"type": "error", "error": {"type": "permission_error", "message": "m"}}, "permission", 403),
        ({"type": "error", "error": {"type": "not_found_error", "message": "m"}}, "not_found", 404),
        ({"type": "error", "error": {"type": "request_too_large", "message": "m"}}, "request_too_large", 413),
        ({"type": "error", "error": {"type": "timeout_error", "message": "m"}}, "timeout", 504),
        ({"type": "error", "error": {"type": "billing_error", "message": "m"}}, "billing", 402),
        ({"type": "error", "error": {"type": "authentication_error", "message": "m"}}, "authentication", 401),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "m", "param": None}, "rate_limit", 429),
        ({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "m"}}}, "api", 500),
        ({"object": "error", "message": "m", "code": 400}, "invalid_request", 400),
        ({"detail": "m"}, "api", 500),
        ({"success": False, "message": "m"}, "api", 500),
        ({"code": 50508, "message": "System is too busy now", "data": None}, "overloaded", 529),
        ({"choices": None, "code": 17, "msg": "m"}, "api", 500),
        (
            {"choices": None, "base_resp": {"status_code": 2061, "status_msg": "your current token plan not support model"}},
            "permission",
            403,
        ),
        ({"base_resp": {"status_code": 2013, "status_msg": "invalid params, context window exceeds limit"}}, "context_overflow", 400),
        ({"base_resp": {"status_code": 1008, "status_msg": "m"}}, "billing", 402),
        ({"base_resp": {"status_code": 1002, "status_msg": "m"}}, "rate_limit", 429),
        ({"base_resp": {"status_code": "odd"}}, "invalid_request", 400),
    ],
)
def test_an_error_inside(payload: dict[str, Any], kind: str, status: int) -> None:
    error = failure.inside(payload)
    assert error is not None
    assert (error.kind, error.status) == (kind, status)


def test_an_error_inside_tells_the_wait_and_the_provider() -> None:
    error = failure.inside({"error": {"message": "Rate limit, try again in 6s", "code": 429}}, provider="groq")
    assert error is not None
    assert (error.retry_after, error.message) == (6, "groq: Rate limit, try again in 6s")
    unknown = failure.inside({"error": {"code": "odd"}}, provider="groq")
    assert unknown is not None
    assert unknown.message == "groq reported an error without saying which (odd)"
    key = failure.inside({"error": {"code": "invalid_api_key", "message": "sk-abc is wrong"}}, provider="groq")
    assert key is not None
    assert key.message.startswith("groq refused the API key. ")


# -- transport -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("connect", "upstream"),
        ("dns", "upstream"),
        ("tls", "upstream"),
        ("timeout_connect", "timeout"),
        ("timeout_first_byte", "timeout"),
        ("timeout_idle", "timeout"),
        ("cut", "upstream"),
        ("anything else", "upstream"),
    ],
)
def test_transport(kind: str, expected: str) -> None:
    error = failure.transport(kind, "refused by https://u:p@host/x?key=1 with sk-abc.", "acme")
    assert error.kind == expected
    assert "acme" in error.message
    assert "refused by https://host/x with …" in error.message
    assert not re.search(r"key=1|sk-abc|u:p", error.message)
    assert error.should_retry is (False if kind == "tls" else None)
    assert error.message.endswith(".")


def test_transport_knows_little() -> None:
    assert failure.transport("cut", "", "").message == "upstream closed the stream early (the upstream): no further cause is known."


# -- whatever comes ------------------------------------------------------------------------------------------------------

KEYS = st.from_regex(r"(sk|gsk|xai|csk|nvapi|pplx)[-_][A-Za-z0-9]{8,40}", fullmatch=True) | st.from_regex(
    r"(AIza|ghp_|eyJ)[A-Za-z0-9_-]{8,40}", fullmatch=True
)
WORDS = st.sampled_from(
    [rule.text.pattern[:60] for rule in failure.rules() if rule.text]
    + [
        "prompt is too long: 9 tokens > 3 maximum",
        "x-api-key",
        "maximum context length is 7 tokens",
        "max_tokens: 9 > 3, which is the maximum",
    ]
)
TEXTS = st.text(max_size=60) | WORDS | st.builds(lambda a, b: f"{a} {b}", WORDS, st.text(max_size=30))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "error",
                    "message",
                    "code",
                    "type",
                    "param",
                    "detail",
                    "loc",
                    "msg",
                    "metadata",
                    "raw",
                    "headers",
                    "status",
                    "base_resp",
                    "status_code",
                    "choices",
                ]
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["retry-after", "retry-after-ms", "date", "x-ratelimit-reset", "x-ratelimit-remaining-a", "x-ratelimit-reset-a", "x-should-retry"]
    ),
    st.text(max_size=30) | st.sampled_from(["7", "0", NOW, "1754667660000", "6m0s", "true"]),
)
STATUSES = st.integers(-5, 1100) | st.sampled_from([400, 401, 402, 403, 404, 413, 422, 429, 500, 503])
OVERFLOW = re.compile(r"prompt is too long|maximum context length|context_length_exceeded|reduce the length of the messages", re.IGNORECASE)


def check(error: ApiError) -> None:
    assert error.kind in KINDS
    assert 400 <= error.status < 600
    assert len(error.message) <= scrub.LIMIT
    assert error.message
    assert "x-api-key" not in error.message.lower()
    assert OVERFLOW.search(error.message) is None or error.kind in ("context_overflow", "max_tokens")
    assert error.retry_after is None or 0 <= error.retry_after <= waiting.LONGEST
    assert error.limit >= 0
    error.headers()
    assert orjson.loads(error.body("req_1"))["error"]["message"] == error.message


@given(STATUSES, HEADERS, st.binary(max_size=300) | JSON.map(orjson.dumps), st.sampled_from(["", "openai", "azure", "cerebras"]))
def test_read_raises_on_nothing(status: int, headers: dict[str, str], data: bytes, provider: str) -> None:
    check(failure.read(status, headers, data, provider=provider))


@given(JSON.map(orjson.dumps), st.integers(0, 400))
def test_read_raises_on_no_cut(data: bytes, length: int) -> None:
    check(failure.read(400, {}, data[:length]))


@given(st.dictionaries(st.sampled_from(["error", "base_resp", "choices", "type", "code", "message", "detail"]), JSON, max_size=5))
def test_inside_raises_on_nothing(payload: dict[str, Any]) -> None:
    error = failure.inside(payload)
    if error is not None:
        check(error)


@given(KEYS, STATUSES, TEXTS, TEXTS, st.sampled_from(["message", "code", "param", "type", "detail"]))
def test_no_planted_key_gets_out(key: str, status: int, before: str, after: str, place: str) -> None:
    planted = {"error": {"message": "refused", place: f"{before} {key} {after}"}, "detail": f"{before}\n{key}"}
    for data in (orjson.dumps(planted), f"{before} {key}".encode(), orjson.dumps(planted)[:-9]):
        assert key not in failure.read(status, {}, data, provider="acme").message
    assert key not in failure.transport("connect", f"{before} {key} {after}", "acme").message


@given(st.text(alphabet="abcdefgh123*!", min_size=4, max_size=20), TEXTS)
def test_no_known_secret_gets_out(secret: str, text: str) -> None:
    message = failure.read(400, {}, orjson.dumps({"error": {"message": f"{text} {secret}"}}), secrets=(secret,)).message
    assert secret not in message or secret in failure.read(400, {}, orjson.dumps({"error": {"message": text}})).message


def test_a_gigabyte_is_not_read() -> None:
    error = failure.read(400, {}, b'{"error":{"message":"bad"},"echo":"' + b"A" * 50_000_000)
    assert error.message == "bad"


# -- docs ----------------------------------------------------------------------------------------------------------------


def test_the_docs_list_each_kind_with_its_status_and_type() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| `(\w+)` \| (yes|no) \|", DOCS.read_text("utf-8"), re.MULTILINE)
    assert {name: (int(status), type_, again == "yes") for name, status, type_, again in rows} == {
        name: (kind.status, kind.type, kind.retryable) for name, kind in KINDS.items()
    }
