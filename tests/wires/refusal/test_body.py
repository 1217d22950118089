"""Forms of error bodies, and how much of one is read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from a2py.errors import ApiError
from a2py.wires import failure
from a2py.wires.refusal import body, scrub
from a2py.wires.refusal.body import parse_body, parse_value
from a2py.wires.refusal.peer import Peer


def of(value: Any, status: int = 400, headers: dict[str, str] | None = None, **peer: Any) -> ApiError:
    return failure.read(status, headers or {}, orjson.dumps(value), Peer(**peer))


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
        (b'{"detail":"Not ErrorBody"}', ["Not ErrorBody"]),
        (b'{"detail":[{"loc":["body","a",0],"msg":"bad"},{"loc":[],"msg":"worse"}]}', ["a.0: bad", "worse"]),
        (b'{"detail":{"error":{"message":"x"}}}', ["x"]),
        (b'{"errors":[{"message":"one"},{"message":"two"}]}', ["one", "two"]),
        (b'{"tpe":"fail","errors":[{"description":"writer","key":"fail"}]}', ["writer"]),
        (b'{"title":"T","detail":"D"}', ["D"]),
        (b'{"title":"T"}', ["T"]),
        (b'{"error":{"message":"{\\"error\\":{\\"message\\":\\"json in json\\"}}"}}', ["json in json"]),
        (b'{"error":{"message":"{not json"}}', ["{not json"]),
        (b'{"error":{"message":"half a pair: \\ud83d"}}', ["half a pair: \ufffd"]),
        (b'{"error":{"code":400,"cause":{"message":"deep"}}}', ["deep"]),
        (b'{"error":{"type":"x","upstream":"{\\"error\\":{\\"message\\":\\"deep\\"}}"}}', ["deep"]),
        (b'{"error":{"response":{"data":{"error":{"message":"deep"}}}}}', ["deep"]),
        (b'{"error":{"type":"request_fail","upstream_error":{"error":{"message":"deep"}}}}', ["deep"]),
        (b'{"error":{"message":"outer","upstream_error":{"error":{"message":"deep"}}}}', ["outer", "deep"]),
        (b'{"error":{"message":"outer","upstream_error":"it said so"}}', ["outer", "it said so"]),
        (b'{"error":{"message":"outer","upstream":"acme"}}', ["outer"]),
        (b'{"error":{"message":"outer","usage":{"message":"no"},"n":1}}', ["outer"]),
        (b'{"error":{"type":"t","request":{"message":"the client said so"}}}', []),
        (b'{"Message":"AWS"}', ["AWS"]),
        (b'{"error":{"message":"own"}}event: response.failed\ndata: {"error":{"message":"late"}}\n\n', ["own"]),
        (b'{"error":{"code":7}}data: {"error":{"message":"late"}}\n\n', ["late"]),
        (b'{"error":{"code":7}}\n\ndata: nothing\n\n', []),
        (b"it said data: {}", ["it said data: {}"]),
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
    assert parse_body(data).sentences == sentences


def test_codes_param_and_status() -> None:
    error_body = parse_body(
        b'{"error":{"code":"c","type":"t","param":"p","status":429,"innererror":{"code":"inner"}},"code":true}'
    )
    assert (error_body.codes, error_body.param, error_body.status) == (["c", "t", "429", "inner"], "p", 429)
    cut = parse_body(b'{"error":{"message":"m","code":"c","param":"p')
    assert (cut.codes, cut.param) == (["c"], "p")
    inner = parse_body(
        b'{"detail":[{"loc":["body"],"msg":"m","input":{"code":"invalid_api_key","message":"x","param":"p","status":401}}'
        + b"x" * 9
    )
    assert (inner.codes, inner.sentences, inner.param, inner.status) == ([], ["m"], "", 0), (
        "what a client sent is nothing that was said"
    )
    assert parse_body(b'{"error":{"message":"m","value":NaN,"code":"invalid_api_key"}}').codes == [], (
        "nor what only looks like JSON"
    )
    assert parse_body(b'{"code":"404","message":"m"}').status == 404
    assert parse_body(b'{"code":200,"status":600,"error":{"code":503}}').status == 503
    assert parse_body(b'{"error":{"param":"a sentence"}}').sentences == ["a sentence"]
    assert parse_body(b'{"errors":[{"param":"p"},{"param":"q"}]}').param == "p"


def test_a_body_is_bounded() -> None:
    error_body = parse_body(b'{"error":{"message":"' + b"x" * 1_000_000)
    assert len(error_body.text) <= body.LONG
    assert len(error_body.line) <= body.LINE
    deep: Any = "bottom"
    for _ in range(30):
        deep = {"error": deep}
    assert parse_value(deep).sentences == []
    many = parse_value([{"message": f"number {n}", "code": n} for n in range(100)])
    assert len(many.sentences) == body.SENTENCES
    assert len(parse_value([[{"code": n} for n in range(8)]] * 8).codes) == body.CODES
    assert len(of({"error": {"message": "word " * 3000}}).message) <= scrub.LIMIT


def test_headers_without_a_reset_do_not_erase_one_that_was_read() -> None:
    error = {"metadata": {"headers": {"X-RateLimit-Reset": "17"}}, "provider_error": {"headers": {"a": "b"}}}
    assert parse_body(orjson.dumps({"error": {"message": "x", **error}})).reset == "17"


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        ({"retryDelay": "34.07s"}, "34.07s"),
        ({"retry_after": 30}, "30.000s"),
        ({"retry-after": "1.5"}, "1.500s"),
        ({"retry_after_ms": 250}, "250.000ms"),
        ({"reset_time": "29m28s"}, "29m28s"),
        ({"retry_after": 10**12}, "99999999.000s"),
        ({"retry_after": "123456789"}, "123456789"),
        ({"retry_after": True}, ""),
        ({"retry_after": -1}, ""),
        ({"retry_after": "soon"}, ""),
        ({"retry_after": None}, ""),
        ({"retry_after_ms": 250, "retry_after": 7}, "250.000ms"),
        ({"retryDelay": "1s", "retry_after": 30}, "1s"),
    ],
)
def test_the_wait_that_a_body_names(error: dict[str, Any], delay: str) -> None:
    assert parse_body(orjson.dumps({"error": {"message": "x", **error}})).delay == delay
