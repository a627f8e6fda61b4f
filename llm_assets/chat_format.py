"""The one text format of a conversation: what models are trained on, prompted with, and served in.

    <|system|>…<|user|>…<|assistant|>…<|end|>

A prompt ends in `<|assistant|>`; the model answers and stops with `<|end|>`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("system", "user", "assistant")
SPECIAL_TOKENS = (PAD, END, "<|system|>", "<|user|>", "<|assistant|>")

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}"
    "{% if m['role'] == 'assistant' %}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

_SPECIAL = re.compile("|".join(re.escape(token) for token in SPECIAL_TOKENS))


def strip_special(text: str) -> str:
    """Text from outside must not be able to speak as another role or end a turn."""
    while (stripped := _SPECIAL.sub("", text)) != text:
        text = stripped
    return text


def render_chat(messages: Sequence[Mapping[str, str]]) -> str:
    """The prompt for the next assistant turn. Raises ValueError on an unknown role."""
    parts = []
    for message in messages:
        role = message["role"]
        if role not in ROLES:
            raise ValueError(f"role {role!r} is not one of {', '.join(ROLES)}")
        end = END if role == "assistant" else ""
        parts.append(f"<|{role}|>{strip_special(message['content'])}{end}")
    return "".join(parts) + "<|assistant|>"
