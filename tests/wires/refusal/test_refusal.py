"""The parts of reading a refusal: forms of bodies, waiting times, what must not be repeated."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from a2py.errors import ApiError
from a2py.wires import failure
from a2py.wires.refusal import body, scrub, waiting
from a2py.wires.refusal.body import Found, unfold, unfold_value


def of(value: Any, status: int = 400, headers: dict[str, str] | None = None, **known: Any) -> ApiError:
    return failure.read(status, headers or {}, orjson.dumps(value), **known)


def said(message: str, status: int = 400, **known: Any) -> ApiError:
    return of({"error": {"message": message}}, status, **known)


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
        (b'{"error":{"message":"cut of\\"f\\n here","type":"t","code":"c","param":"p', ['cut of"f\n here']),
        (b'"a bare string that was cu', ["a bare string that was cu"]),
        (b'"a bare string that was cut in an escape\\u00', ["a bare string that was cut in an escape"]),
        (b'"cut in an escape\\', ["cut in an escape"]),
        (b'"cut behind an escape\\\\', ["cut behind an escape\\"]),
        (b'"cut behind an escape\\\\\\u', ["cut behind an escape\\"]),
        (b'"no escape \\\\u00', ["no escape \\u00"]),
        (b'{"error":{"message":"deep","x":[1,{"y":[tru', ["deep"]),
        (b'{"error":{"message":"a number was cut","x":12', ["a number was cut"]),
        (b'{"error":{"message":"a name was cut","x', ["a name was cut"]),
        (b'{"error":{"message":"a value is missing","x":', ["a value is missing"]),
        (b'{"error":{"message":"a comma"},', ["a comma"]),
        (b'[{"message":"one"},{"message":"tw', ["one", "tw"]),
        (b'{"message":"glued"}{"message":"to another"}', ["glued"]),
        (b'{"message":"glued"} data: {}', ["glued"]),
        (b'{"error": {"message": "no JSON: \\"x\\"\\n NaN", "value": NaN}}', ['no JSON: "x"  NaN']),
        (b"{'error': {'message': 'Python'}}", ["{'error': {'message': 'Python'}}"]),
        (b"[}]", ["[}]"]),
        (b"}", ["}"]),
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
    inner = unfold(
        b'{"detail":[{"loc":["body"],"msg":"m","input":{"code":"invalid_api_key","message":"x","param":"p","status":401}}' + b"x" * 9
    )
    assert (inner.codes, inner.sentences, inner.param, inner.status) == ([], ["m"], "", 0), "what a client sent is nothing that was said"
    assert unfold(b'{"error":{"message":"m","value":NaN,"code":"invalid_api_key"}}').codes == [], "nor what only looks like JSON"
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
