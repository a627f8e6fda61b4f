"""`llm-assets chat`: the endpoint through the official `openai` client. An encoder answers with a text's class."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from llm_assets.errors import UserError
from llm_assets.recipe import current_recipe, home_folder
from llm_assets.terminal import console

if TYPE_CHECKING:
    import openai


def converse(text: str | None, model: str) -> None:
    """Answer `text`, or every line typed until the end of input."""
    import openai

    from llm_assets.serving.package import is_encoder
    from resources.endpoint import endpoint_of

    endpoint = endpoint_of(current_recipe(), home_folder())
    silent = UserError(f"no endpoint answers at {endpoint.url}. Start it with `llm-assets up`.")
    if endpoint.health() is None:
        raise silent
    client = openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key=endpoint.api_key(), max_retries=1)
    answer = partial(_classify if is_encoder(endpoint.package()) else _stream, client, model)
    try:
        if text is not None:
            answer(text)
            return
        console.print(f"Talking to [bold]{model}[/] at {endpoint.url}; Ctrl-D ends.")
        while True:
            try:
                line = console.input("[bold]you:[/] ").strip()
            except EOFError:
                return
            if line:
                answer(line)
    except openai.APIConnectionError:
        raise silent from None
    except openai.APIStatusError as error:
        raise UserError(f"the endpoint refused: {error.message}") from None


def _stream(client: openai.OpenAI, model: str, text: str) -> None:
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], temperature=0, stream=True
    )
    for chunk in stream:
        for choice in chunk.choices:
            console.print(choice.delta.content or "", end="", markup=False)
    console.print()


def _classify(client: openai.OpenAI, model: str, text: str) -> None:
    from llm_assets.serving.asking import WHOLE_CONTEXT
    from llm_assets.serving.package import RAW_MODEL, ROUTE

    name = RAW_MODEL if model == f"{RAW_MODEL}-{ROUTE}" else model  # an encoder has this task, and one name
    body = {"model": name, "input": text, "truncate_prompt_tokens": WHOLE_CONTEXT}
    reply: Any = client.post("/classify", body=body, cast_to=object)
    [found] = reply["data"]
    console.print(f"{found['label']} ({max(found['probs']):.2f})", markup=False)
