"""Prompts: templates, examples that fit, and the best candidate by measurement. Importable without torch."""

from llm_assets.prompts.templates import (
    PromptTemplate,
    Shot,
    base_template,
    best_template,
    cut_text,
    load_templates,
    parse_answer,
    render_prompt,
)

__all__ = [
    "PromptTemplate",
    "Shot",
    "base_template",
    "best_template",
    "cut_text",
    "load_templates",
    "parse_answer",
    "render_prompt",
]
