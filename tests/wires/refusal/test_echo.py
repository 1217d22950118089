"""What an upstream's sentence repeats of the request: how it is found, what stays, and what a search may cost."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a2py.messages.sent import NOTHING, SentBody
from a2py.wires.refusal.echo import ELLIPSIS, repeats, without_echo

CAP = "max_tokens must be less than or equal to 1"


def make_request(*texts: str, **more: object) -> SentBody:
    """A request whose messages have these texts."""
    return SentBody(
        orjson.dumps(
            {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": text} for text in texts], **more}
        )
    )


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        (f"cannot read '{CAP}'.", "cannot read '…'."),
        (f'cannot read "{CAP}"', 'cannot read "…"'),
        (f"cannot read `{CAP}` here", "cannot read `…` here"),
        (f"cannot read “{CAP}”, „{CAP}“, «{CAP}», ‘{CAP}’ and 「{CAP}」", "cannot read “…”, „…“, «…», ‘…’ and 「…」"),
        (f"{{'type': 'x', 'input': '{CAP}'}}", "{'type': 'x', 'input': '…'}"),
        (f'in json: \\"{CAP}\\" and \\\\\\"{CAP}\\\\\\"', 'in json: \\"…\\" and \\\\\\"…\\\\\\"'),
        (f"invalid input: {CAP}", "invalid input: …"),
        (f"value: {CAP}.", "value: …"),
        (f"input_value={CAP}, input_type=str]", "input_value=…input_type=str]"),
        (f"expected a list, got {CAP}", "expected a list, got …"),
        (f"got {CAP} instead of a list", "got …instead of a list"),
        (f"received: {CAP}, expected a list", "received: …expected a list"),
        (f"invalid value {CAP}", "invalid value …"),
        (f"the value {CAP} is not a list", "the value …is not a list"),
        (f"cut at its end: '{CAP[:30]}", "cut at its end: '…"),
        (f"input_value='{CAP[:20]}...{CAP[-12:]}', input_type=str", "input_value='…', input_type=str"),
        (f"shortened: '{CAP[:20]}…'", "shortened: '…'"),
        (f"twice: '{CAP}', \"{CAP}\"", "twice: '…', \"…\""),
        (f'error with {{"message": "cannot read \'{CAP}\'"}}', 'error with {"message": "cannot read \'…\'"}'),
        (f"(((`'\"{CAP}\"'`)))", "(((`…`)))"),
        (f"don't: the model's '{CAP}'", "don't: the model's '…'"),
    ],
)
def test_a_marked_repetition_goes(sentence: str, expected: str) -> None:
    assert without_echo(sentence, make_request("Hello", CAP)) == expected
    assert without_echo(sentence, make_request("Hello", f"Why? {CAP}\nBecause.")) == expected


@pytest.mark.parametrize(
    "text",
    [
        "one\ntwo three\r\n\tfour five",
        'he said "max_tokens is 1" and \'top_p is 2\'',
        "C:\\new\\table of \\ things",
        "Über 余额不足 — größer 😀 als",
        "zero\x00byte and \x1b[31mred and \u2028 line and \x7f",
        "many    spaces\u00a0and no-break",
        "ends with a backslash \\",
        "{\"error\": {\"message\": \"nested max_tokens\"}}",
        "a/b <c> & d",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "quote",
    [
        repr,
        json.dumps,
        lambda s: json.dumps(s, ensure_ascii=False),
        lambda s: json.dumps(json.dumps(s)),
        lambda s: json.dumps({"input": s}),
        lambda s: repr({"input": s}),
        lambda s: f"`{s}`",
        lambda s: "“" + s + "”",
        lambda s: f"input: {s}",
        lambda s: f"got {s}",
    ],
)
def test_it_goes_however_it_is_written(text: str, quote: object) -> None:
    """Escaped once, twice or not at all, by JSON or by Python."""
    message = without_echo(f"bad content {quote(text)}", make_request(text))  # type: ignore[operator]
    words = [
        word
        for word in ("two", "three", "five", "said", "table", "things", "余额不足", "byte", "spaces", "ends", "nested")
        if word in text
    ]
    assert message.startswith("bad content ") and ELLIPSIS in message
    assert not [word for word in words if word in message], message


@given(st.text(min_size=12, max_size=60), st.sampled_from([repr, json.dumps, lambda s: json.dumps(json.dumps(s))]))
def test_quoted_by_a_program_nothing_of_it_is_read(text: str, quote: object) -> None:
    """Whatever the client wrote around it: a wording inside of a proper quotation is not heard."""
    text = f"{text} {CAP} {text}".encode("utf-8", "replace").decode()
    message = without_echo(f"bad content: {quote(text)}", make_request(text))  # type: ignore[operator]
    assert CAP not in message


def test_a_quotation_with_the_same_quote_inside() -> None:
    text = "I asked 'is it so' and it said: 'prompt is too long' again"
    assert without_echo(f"bad '{text}': no", make_request(text)) == "bad '…': no"
    assert without_echo(f"bad '{text}': no", SentBody(f"[{text!r}]".encode())) == "bad '…': no", (
        "also where it stands as JSON"
    )
    assert without_echo("bad 'one two' or 'three four'", make_request("one two, three four")) == "bad '…' or '…'"


@pytest.mark.parametrize(
    "sentence",
    [
        CAP,
        f"Bad request: {CAP}",
        f"{CAP}: cannot read it",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "Unsupported value: 'none' is not supported. Supported values are: 'low', 'medium', and 'high'.",
        "tools.0.custom.input_schema: got 17 instead",
        "Expected a value <= 1, but got 1.5 instead.",
        "`messages[0].content` must be a string",
        "This model's maximum context length is 8192 tokens. However, the users' messages resulted in 9000 tokens.",
        'relay: {"error": {"message": "prompt is too long"}}',
        "relay: {'error': {'message': 'prompt is too long'}}",
        'relay: {\\"message\\": \\"prompt is too long\\"}',
        "The value of max_tokens must be below 8192",
        "'' \"\" `` '",
        "… '…' '...' \"\\\"",
        "input:",
        "got",
        "",
    ],
)
def test_what_is_not_a_repetition_stays(sentence: str) -> None:
    """Although the conversation is about nothing else."""
    about = make_request(
        sentence, f"I saw {sentence!r} and {CAP} and prompt is too long. Why?", "17 1.5 none low medium high"
    )
    assert without_echo(sentence, about) == sentence


def test_what_the_client_did_not_write_stays() -> None:
    sentence = f"cannot read '{CAP}', got {CAP}"
    assert without_echo(sentence, make_request("Hello")) == sentence
    assert without_echo(sentence, NOTHING) == sentence


def test_deep_quotations_are_followed_only_so_far() -> None:
    text = f"'{CAP}'"
    for quote in ('"', "`", "\\'", '\\"', "\\`", "\\\\'"):
        text = f"{quote}from {text} up to{quote}"
    assert without_echo(text, make_request(CAP)) == text


def test_pieces_are_compared() -> None:
    request = make_request('one two\n"three" four')
    assert repeats("one two three four", make_request("one two three four"))
    assert repeats('one two "three" four', request) and repeats("one two\\n\\u0022three\\u0022 four", request)
    assert not repeats("one two three four", request)
    assert not repeats("… '' . ab", request), "nothing readable"
    assert not repeats("one two", NOTHING)


@given(st.text(alphabet="'\"`\\ got:inputvalue=x“”,.", max_size=200), st.text(max_size=30))
def test_it_raises_on_nothing_and_only_shortens(sentence: str, text: str) -> None:
    request = make_request(text, sentence)
    message = without_echo(sentence, request)
    assert len(message) <= len(sentence) + 2 * message.count(ELLIPSIS)
