"""How far an error's text is believed beside its status, its codes and its `param`, and what the request says."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest

from a2py.errors import CLIENT_ERRORS, COOLDOWN_KINDS, KINDS, Blame
from a2py.messages.sent import NOTHING, SentBody
from a2py.wires import failure
from a2py.wires.refusal import topic, verdict
from a2py.wires.refusal.body import ErrorBody, parse_body
from a2py.wires.refusal.fields import FIELDS
from a2py.wires.refusal.wordings import EARLY, LATE
from tests import golden

CAP = "max_tokens must be less than or equal to 1"


def find(status: int, message: str, request: SentBody = NOTHING, **more: Any) -> verdict.Verdict:
    return verdict.find_rule(status, parse_body(orjson.dumps({"error": {"message": message, **more}})), "", request)


def make_request(*texts: str) -> SentBody:
    return SentBody(orjson.dumps({"messages": [{"role": "user", "content": text} for text in texts]}))


# -- kinds that are about the deployment -------------------------------------------------------------------------------


def accusations() -> list[Any]:
    """The sentence of each golden whose text alone speaks of the deployment, with the rule."""
    out = []
    for case in golden.read(golden.FOLDER / "errors.md"):
        block = next(block for block in case.blocks if block.name == "upstream")
        if not any(block.name == "request" for block in case.blocks):
            error_body = parse_body(golden.upstream_bytes(block))
            ruling = verdict.find_rule(int(block.options[0]), error_body, "")
            if ruling.rule and ruling.match and ruling.rule.kind in verdict.ABOUT_DEPLOYMENT:
                out.append(pytest.param(ruling.rule, error_body.line, id=f"{ruling.rule.name}: {case.title}"))
    return out


def test_each_wording_that_accuses_a_deployment_is_tested_below() -> None:
    """Every rule in refusal/ that may give such a kind by its text."""
    proven = {case.values[0].name for case in accusations()}
    by_text = {rule.name for rule in verdict.rules() if rule.text and rule.kind in verdict.ABOUT_DEPLOYMENT}
    assert by_text - proven == set()


@pytest.mark.parametrize(("rule", "line"), accusations())
def test_text_alone_accuses_no_deployment(rule: Any, line: str) -> None:
    """A 400 with these words gives the client its message, and counts nothing; words that the request holds give not
    even that."""
    status = 403 if rule.statuses == {403} else 400
    for text in (line, f"Sorry. {line}"):
        if rule.statuses == {403}:
            continue  # its status is the support
        error_body = ErrorBody(sentences=[text])
        ruling = verdict.find_rule(status, error_body, "")
        assert ruling.rule is not None and (ruling.rule.kind, ruling.blame) == (rule.kind, Blame.NONE)
        echo_ruling = verdict.find_rule(status, error_body, "", make_request(f"Why {text}?"))
        assert echo_ruling.rule is None or echo_ruling.rule.kind in CLIENT_ERRORS
        inside = verdict.find_rule(0, error_body, "")
        assert inside.rule is not None and inside.blame is Blame.NONE, "inside a 200 no status supports it either"
    if not rule.statuses:
        assert verdict.find_rule(500, ErrorBody(sentences=[line]), "").blame is (
            Blame.KIND if rule.kind == verdict.kind_of_status(500) else Blame.FAILURE
        )
    for status in (401, 402, 403, 404, 429):
        if status in (rule.statuses or {status}):
            ruling = verdict.find_rule(status, ErrorBody(sentences=[line]), "", make_request(line))
            assert (ruling.rule and ruling.rule.kind, ruling.blame) == (rule.kind, Blame.KIND), (
                "the status says so itself"
            )


def test_codes_support_what_the_text_says() -> None:
    assert find(400, "API key not valid", code="API_KEY_INVALID").blame is Blame.KIND
    assert (
        find(413, "on tokens per minute (TPM): Limit 6000, Requested 14810", code="rate_limit_exceeded").blame
        is Blame.KIND
    )
    assert find(400, "Insufficient Balance", code=402).blame is Blame.KIND, "a status in the body is a code"
    assert find(400, "Insufficient Balance", code=503).blame is Blame.FAILURE
    assert find(400, "Insufficient Balance", code="oops").blame is Blame.NONE
    assert find(503, "server is busy").blame is Blame.KIND


def test_the_kinds_are_sorted() -> None:
    assert COOLDOWN_KINDS < verdict.ABOUT_DEPLOYMENT
    assert verdict.ABOUT_DEPLOYMENT | CLIENT_ERRORS | {"method_not_allowed"} == set(KINDS)
    assert not verdict.ABOUT_DEPLOYMENT & CLIENT_ERRORS


def test_a_404_about_the_clients_content_is_not_the_deployments() -> None:
    assert find(404, "File 'file_1' was not found", param="input").blame is Blame.NONE
    assert find(404, "Not found", param="model").blame is Blame.KIND
    assert find(404, "Not found").blame is Blame.KIND
    assert find(500, "oops", param="input").blame is Blame.KIND


def test_a_request_that_alone_exceeds_a_limit_is_at_fault_itself() -> None:
    size = "on tokens per minute (TPM): Limit 6000, Requested {}"
    for tokens, blame in ((14810, Blame.NONE), (6000, Blame.KIND)):
        error = failure.read(429, {}, orjson.dumps({"error": {"message": size.format(tokens)}}))
        assert error.blame is blame


# -- echoes ------------------------------------------------------------------------------------------------------------


def test_words_of_the_request_are_marked() -> None:
    words = "Unknown parameter: 'stream_options'."
    assert not find(400, words, make_request("Hello")).is_echo
    assert not find(400, words).is_echo
    assert find(400, words, make_request(f"It says: {words}")).is_echo
    assert find(400, words, make_request("It says:\n\n  Unknown\n parameter: 'stream_options'")).is_echo is False, (
        "written in another way"
    )
    assert find(
        400,
        "Unknown\n  parameter:\u00a0'stream_options'.",
        make_request("It says: Unknown\n  parameter:\u00a0'stream_options'"),
    ).is_echo


def test_what_a_rule_matched_across_two_sentences_is_looked_up_as_one() -> None:
    error_body = ErrorBody(sentences=["messages: one", "reasoning_content is unsupported"])
    assert verdict.find_rule(
        400, error_body, "", make_request("messages: one: reasoning_content is unsupported")
    ).is_echo
    assert not verdict.find_rule(400, error_body, "", make_request("messages: one")).is_echo


def test_a_code_or_param_that_says_the_same_is_proof() -> None:
    words, about = "Unknown parameter: 'stream_options'.", make_request("Unknown parameter: 'stream_options'.")
    assert find(400, words, about, param="stream_options").is_echo is False
    assert find(400, words, about, param="messages[0].content").rule is None
    assert find(400, words, about, code="unknown_parameter", param="stream_options").is_echo is False
    assert find(400, "prompt is too long", make_request("prompt is too long"), param="messages").is_echo, (
        "param names what the client wrote"
    )
    assert find(400, "x", about, code="context_length_exceeded").is_echo is False


def test_a_repeated_wording_does_not_hide_the_upstreams_own() -> None:
    ruling = find(400, f"cannot read '{CAP}': Unknown parameter: 'top_p'", make_request(CAP))
    assert ruling.rule is not None and ruling.rule.name == "named.kind" and not ruling.is_echo
    assert ruling.own.text == "cannot read '…': Unknown parameter: 'top_p'"


# -- param and prose ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "param", "name"),
    [
        (CAP, "", "max_tokens.at_most"),
        (CAP, "max_tokens", "max_tokens.at_most"),
        (CAP, "max_completion_tokens", "max_tokens.at_most"),
        (CAP, "body.maxOutputTokens", "max_tokens.at_most"),
        (CAP, "length", "max_tokens.at_most"),
        (CAP, "messages", ""),
        (CAP, "messages[0].content", ""),
        (CAP, "messages.0.max_tokens", ""),
        (CAP, "tools[3].function.parameters.max_tokens", ""),
        (CAP, "metadata.user_id", ""),
        (CAP, "temperature", ""),
        ("Unknown parameter: 'top_p'", "tools", ""),
        ("Unknown parameter: 'top_p'", "top_p", "named.kind"),
        ("Unknown parameter: 'foo'", "messages", "named.kind"),
        ("tools.0.strict: Extra inputs are not permitted", "tools.0.strict", "named.extra"),
        (
            "messages.0.content.0.cache_control: Extra inputs are not permitted",
            "messages.0.content.0.cache_control",
            "named.extra",
        ),
        ("messages.1: property 'reasoning_content' is unsupported", "messages.1", "field.reasoning_history"),
        ("Function tools with reasoning_effort are not supported", "reasoning_effort", "field.reasoning_tools"),
        ("Function tools with reasoning_effort are not supported", "tools", "field.reasoning_tools"),
        ("json mode cannot be combined with tool/function calling", "response_format", "field.format_tools"),
        (
            "parameter.enable_thinking must be set to false for non-streaming calls",
            "enable_thinking",
            "field.stream_only",
        ),
        ("conversation roles must alternate user/assistant", "messages", "field.alternation"),
        ("conversation roles must alternate user/assistant", "temperature", ""),
        ("prompt is too long", "messages", "overflow.anthropic"),
        ("prompt is too long", "max_tokens", "overflow.anthropic"),
        ("prompt is too long", "tools", "overflow.anthropic"),
        ("prompt is too long", "input_tokens", "overflow.anthropic"),
        ("prompt is too long", "temperature", ""),
        ("image exceeds 5 MB", "temperature", "image.anthropic"),
        ("Web search options not supported with this model.", "web_search_options", "named.not_with_model"),
    ],
)
def test_param_beats_prose(message: str, param: str, name: str) -> None:
    rule = find(400, message, param=param).rule
    assert (rule.name if rule else "") == name


def test_a_rule_that_param_contradicts_leaves_the_word_to_the_next() -> None:
    ruling = find(400, CAP, param="top_p", code="unsupported_parameter")
    assert ruling.rule is not None and ruling.rule.name == "named.param"
    assert (
        failure.read(
            400, {}, orjson.dumps({"error": {"message": CAP, "param": "top_p", "code": "unsupported_parameter"}})
        ).field
        == "top_p"
    )


def test_names() -> None:
    assert topic.name_of("body.reasoningEffort") == "reasoning_effort"
    assert topic.name_of("`tools[0].strict`.") == "tools.0.strict"
    assert (
        topic.is_about_content("messages[0].content")
        and topic.is_about_content("input")
        and not topic.is_about_content("")
    )


def test_every_family_is_made_of_names() -> None:
    words = [word for words in topic._FAMILIES.values() for word in words.split()]
    assert all(re.fullmatch(r"[a-z_]+", word) for word in words)


def test_rules_are_asked_in_their_order() -> None:
    verdict.rules.cache_clear()
    assert verdict.rules() == (*EARLY, *FIELDS, *LATE)
