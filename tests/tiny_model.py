"""Builds a tiny made-up model that llama.cpp's server loads: real server, real grammar, no download (needs gguf and
numpy).

Knows: the GGUF fields of a llama model and a ChatML chat template with `<tool_call>` and `<think>`. Must not know:
servers, a2py.
How it works: every layer writes nothing, so the next token depends on the last one alone, and the output matrix is a
table of odds. Dimension 0 is the constant of every token and carries the odds that hold in general; some tokens share a
further dimension, which replaces these odds by others (a thought follows a thought, a call's end follows a brace). So
text is readable, and the odds of ending, of calling a tool, of a closing quote can be set."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DIM = 64
HEADS = 4
WORDS = re.findall(
    r"\w+",
    """
the of and to in is that for it as was with be by on not this have from or had an they which one you were all her there would their we him
been has when who will no more if out so up said what about than into them can only other time new some could first then do any my now
over such our even most made after also did many off before must well back through years where your way down should because long each just
state people how little good world make very year still see own work get here old both between under three never know same last another
while few house use place during again home around small however found part school every number file line code test error return value
name type string list path read write edit run tool call result user message content text input output token model server""",
)
THOUGHTS = re.findall(
    r"\w+", "Hmm So Wait Maybe But First Then Next Perhaps Now Let Actually Right Okay Thus Hence Still Also Well Yes"
)
PIECES = (
    '": "',
    '", "',
    '": ',
    '"}',
    '{"',
    "\n\n",
    ". ",
    ", ",
    "ing",
    "tion",
    "er",
    "re",
    "on",
    "st",
    "en",
    "at",
    "()",
    "10",
    "20",
    "00",
)
LETTERS = ("é", "ü", "—", "世", "界", "😀", "ñ", "“", "”")  # two, three and four bytes of UTF-8
#: Odds of what shall always happen.
SURE = 0.999999
#: A whole call's opening is one token: llama.cpp does not constrain the text until exactly this string appears.
OPEN = '<tool_call>\n{"name": "'
CLOSE = "\n</tool_call>"
CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>")
MARKS = (
    OPEN,
    '", "arguments": ',
    CLOSE,
    "<tool_call>",
    "</tool_call>",
    "<think>",
    "</think>",
    "<tool_response>",
    "</tool_response>",
)

TEMPLATE = r"""{%- macro say(role, text) %}{{- '<|im_start|>' + role + '\n' + text + '<|im_end|>\n' }}{%- endmacro %}
{%- set first = messages[0].content if messages and messages[0].role == 'system' else '' %}
{%- if tools %}
{{- '<|im_start|>system\n' }}{%- if first %}{{- first + '\n\n' }}{%- endif %}
{{- '# Tools\n\nThe functions that you may call stand in <tools></tools>:\n<tools>' }}
{%- for tool in tools %}{{- '\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\n</tools>\n\nA call is a JSON object in <tool_call></tool_call>:\n<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call><|im_end|>\n' }}
{%- elif first %}{{- say('system', first) }}
{%- endif %}
{%- for m in messages %}
{%- if m.role == 'user' or (m.role == 'system' and not loop.first) %}{{- say(m.role, m.content) }}
{%- elif m.role == 'assistant' %}
{{- '<|im_start|>assistant\n' }}
{%- if @THINK@ and m.reasoning_content %}{{- '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{%- endif %}
{%- if m.content %}{{- m.content }}{%- endif %}
{%- for call in m.tool_calls or [] %}
{%- if m.content or not loop.first %}{{- '\n' }}{%- endif %}
{{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
{%- if call.function.arguments is string %}{{- call.function.arguments }}{%- else %}{{- call.function.arguments | tojson }}{%- endif %}
{{- '}\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\n' }}
{%- elif m.role == 'tool' %}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
{{- '\n<tool_response>\n' + m.content + '\n</tool_response>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\n' }}
{%- if @THINK@ %}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- else %}{{- '<think>\n' }}{%- endif %}
{%- endif %}
{%- endif %}
"""


@dataclass(frozen=True)
class Odds:
    """Probabilities at each token: of ending the turn, of a call, of a call as the first token, of another call after a
    call, of ending the thinking, of a double quote (which ends JSON strings)."""

    end: float = 0.02
    tool: float = 0.0
    tool_first: float = 0.0
    again: float = 0.0
    end_think: float = 0.05
    quote: float = 0.1


def printable() -> list[str]:
    """GPT-2's printable stand-in for each byte."""
    unchanged_bytes = {*range(33, 127), *range(161, 173), *range(174, 256)}
    stand_ins = iter(range(256, 512))
    return [chr(b) if b in unchanged_bytes else chr(next(stand_ins)) for b in range(256)]


class Vocabulary:
    """Tokens with their general odds, and the merges that make words of bytes."""

    def __init__(self, odds: Odds, think: bool) -> None:
        self.symbols = printable()
        self.tokens: dict[str, float] = {}
        self.merges: dict[str, None] = {}
        for b in range(256):
            self.tokens[self.symbols[b]] = self._byte(chr(b), odds)
        for word in WORDS:
            self._chain(" " + word, 0.7 / len(WORDS))
        for thought in THOUGHTS:
            self._chain(" " + thought, 0.0)
        for piece in PIECES:
            self._chain(piece, 0.0002)
        for letter in LETTERS:
            self._chain(letter, 0.002)
        self.normal = len(self.tokens)
        self.tokens.update(dict.fromkeys(CONTROL, 0.0))
        self.tokens["<|im_end|>"] = odds.end
        self.tokens.update(dict.fromkeys(MARKS, 0.0))
        self.tokens[OPEN] = odds.tool
        self.tokens['", "arguments": '] = self.tokens[CLOSE] = 1e-7  # only where the grammar wants them
        if think:  # a newline begins the thinking
            self.tokens[self.spell("\n")] = 0.0
        self.index = {token: n for n, token in enumerate(self.tokens)}

    @staticmethod
    def _byte(c: str, odds: Odds) -> float:
        special = {
            '"': odds.quote,
            "}": 0.001,
            "]": 0.001,
            "{": 0.002,
            "[": 0.002,
            ",": 0.002,
            ":": 0.002,
            " ": 0.01,
            "\n": 0.002,
        }
        if c in special:
            return special[c]
        if c.isdigit() and c.isascii():
            return 0.001
        return 0.0005 if " " < c < "\x7f" else 0.0

    def spell(self, text: str) -> str:
        return "".join(self.symbols[b] for b in text.encode())

    def _chain(self, text: str, odds: float) -> None:
        """Merges from left to right; each prefix becomes a token that is never chosen."""
        symbols = self.spell(text)
        for n in range(1, len(symbols)):
            self.merges[f"{symbols[:n]} {symbols[n]}"] = None
            self.tokens.setdefault(symbols[: n + 1], 0.0)
        self.tokens[symbols] = odds


def _logits(odds: list[float]) -> Any:
    import numpy as np

    total = sum(odds)
    return np.array([math.log(p / total) if p > 0 else -60.0 for p in odds], np.float32)


def _after(words: Vocabulary, odds: Odds, think: bool) -> list[tuple[list[str], Any]]:
    """Return the groups of tokens after which other odds hold: the start of the answer, thoughts, a possible end of an
    object, a finished call."""
    general = list(words.tokens.values())
    newline = words.spell("\n")

    def where(**changes: float) -> Any:
        """These odds, and the general ones for the rest."""
        scale = (1 - sum(changes.values())) / sum(general)
        out = [p * scale for p in general]
        for token, p in changes.items():
            out[words.index[token]] = p
        return _logits(out)

    after = [
        ([words.spell("}"), words.spell('"}')], where(**{CLOSE: SURE})),
        ([CLOSE], where(**{OPEN: odds.again / 2, newline: odds.again / 2, "<|im_end|>": SURE - odds.again})),
        (["</think>" if think else newline], where(**{OPEN: odds.tool_first})),
    ]
    if think:
        thoughts = [words.spell(" " + thought) for thought in THOUGHTS]
        each = (SURE - odds.end_think) / len(thoughts)
        after.append(([newline], where(**dict.fromkeys(thoughts, SURE / len(thoughts)))))
        after.append((thoughts, where(**dict.fromkeys(thoughts, each), **{"</think>": odds.end_think})))
    return after


def build(path: Path, odds: Odds | None = None, *, think: bool = False, context: int = 131072) -> Path:
    """Write the model to `path`; `think`: its template opens `<think>`, as reasoning models' templates do."""
    import gguf
    import numpy as np

    odds = odds or Odds()
    words = Vocabulary(odds, think)
    tokens = list(words.tokens)
    kinds = (
        [gguf.TokenType.NORMAL] * words.normal
        + [gguf.TokenType.CONTROL] * len(CONTROL)
        + [gguf.TokenType.USER_DEFINED] * len(MARKS)
    )

    embedding = np.zeros((len(tokens), DIM), np.float32)
    embedding[:, 0] = 1.0
    output = np.zeros((len(tokens), DIM), np.float32)
    output[:, 0] = _logits(list(words.tokens.values())) / math.sqrt(DIM)  # the norm makes a lone 1 the root of DIM
    for n, (group, row) in enumerate(_after(words, odds, think), 1):
        embedding[[words.index[token] for token in group], n] = 1.0
        output[:, n] = row / math.sqrt(DIM / 2) - output[:, 0]

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(context)
    writer.add_embedding_length(DIM)
    writer.add_block_count(1)
    writer.add_feed_forward_length(DIM)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(DIM // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_token_merges(list(words.merges))
    writer.add_bos_token_id(words.index["<|endoftext|>"])
    writer.add_eos_token_id(words.index["<|im_end|>"])
    writer.add_pad_token_id(words.index["<|pad|>"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE.replace("@THINK@", "true" if think else "false"))
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output_norm.weight", np.ones(DIM, np.float32))
    writer.add_tensor("output.weight", output)
    for name in ("attn_norm", "ffn_norm"):
        writer.add_tensor(f"blk.0.{name}.weight", np.ones(DIM, np.float32))
    for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
        writer.add_tensor(f"blk.0.{name}.weight", np.zeros((DIM, DIM), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


if __name__ == "__main__":
    print(build(Path(sys.argv[1]), Odds(tool_first=0.9), think="--think" in sys.argv))
