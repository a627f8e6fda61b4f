"""Published quality rules for web text: Gopher, C4 and FineWeb, over columns of texts.

Each rule has a name, which is the reason of what it rejects. Where the papers leave a detail open it is as in
datatrove, the tool FineWeb was made with: words as treebanks split them, lines as they are in the text.
"""

from __future__ import annotations

from llm_assets.data.clean_config import QualityConfig
from llm_assets.data.gopher import gopher_step
from llm_assets.data.line_rules import c4_step, fineweb_step
from llm_assets.data.steps import Step


def quality_steps(config: QualityConfig) -> list[Step]:
    """The steps a recipe asks for, in the order in which FineWeb applies them."""
    steps = []
    if config.gopher_repetition.enabled or config.gopher_quality.enabled:
        steps.append(gopher_step(config.gopher_repetition, config.gopher_quality))
    if config.c4.enabled:
        steps.append(c4_step(config.c4))
    if config.fineweb.enabled:
        steps.append(fineweb_step(config.fineweb))
    return steps
