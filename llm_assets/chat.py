"""`llm-assets chat`: the endpoint through the official `openai` client."""

from __future__ import annotations

from llm_assets.errors import UserError
from llm_assets.recipe import current_recipe, home_folder
from llm_assets.terminal import console


def converse(text: str | None, model: str) -> None:
    """Answer `text`, or every line typed until the end of input."""
    import openai

    from resources.endpoint import endpoint_of

    endpoint = endpoint_of(current_recipe(), home_folder())
    client = openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key=endpoint.api_key(), max_retries=1)
    try:
        if text is not None:
            _answer(client, model, text)
            return
        console.print(f"Talking to [bold]{model}[/] at {endpoint.url}; Ctrl-D ends.")
        while True:
            try:
                line = console.input("[bold]you:[/] ").strip()
            except EOFError:
                return
            if line:
                _answer(client, model, line)
    except openai.APIConnectionError:
        raise UserError(f"no endpoint answers at {endpoint.url}. Start it with `llm-assets up`.") from None
    except openai.APIStatusError as error:
        raise UserError(f"the endpoint refused: {error.message}") from None


def _answer(client, model: str, text: str) -> None:  # type: ignore[no-untyped-def]
    stream = client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], temperature=0, stream=True
    )
    for chunk in stream:
        for choice in chunk.choices:
            console.print(choice.delta.content or "", end="", markup=False)
    console.print()
