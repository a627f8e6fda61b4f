"""`llm-assets up`: the whole loop on one machine, until Ctrl-C."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from llm_assets import services
from llm_assets.recipe import current_recipe, home_folder
from llm_assets.terminal import console
from resources.config import UI_VARIABLE


def keep_up(port: int) -> int:
    """Run what is stale, keep the services running, and stop all of them on Ctrl-C; the exit code."""
    import dagster as dg

    from resources.endpoint import endpoint_of

    recipe, home = current_recipe(), home_folder()
    endpoint = endpoint_of(recipe, home)
    services.require_free_port(port, "the Dagster UI", "`llm-assets up --port N`")
    if not endpoint.status()["running"]:
        services.require_free_port(endpoint.port, "the endpoint", "`--set serving.port=N`")
    for number in (signal.SIGINT, signal.SIGTERM):  # `kill` ends it as Ctrl-C does; a shell's `&` has SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    ui = f"http://127.0.0.1:{port}"
    os.environ.setdefault(UI_VARIABLE, ui)
    with dg.DagsterInstance.get():  # makes Dagster's database, where there is none: two processes at once would fail
        running = [services.start_webserver(home, port)]
    try:
        console.print(f"The Dagster UI is coming up at {ui}: the run can be watched there.")
        from llm_assets.report import print_outcome
        from llm_assets.runs import run_graph

        outcome = run_graph()
        print_outcome(outcome)
        running.append(services.start_daemon(home))
        services.wait_for(running[0], f"{ui}/server_info")
        if endpoint.current():
            endpoint.start()
        _print_links(ui, endpoint.url if endpoint.current() else None, home)
        while all(service.alive() for service in running):
            time.sleep(0.5)
        ended = next(service for service in running if not service.alive())
        console.print(f"[red]The {ended.name} has ended[/] (code {ended.process.returncode}). Its log: {ended.log}")
        return 1
    except KeyboardInterrupt:
        console.print("\nStopping…")
        return 0
    finally:
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not leave half of it running
        services.stop(running[::-1])
        endpoint.stop()
        signal.signal(signal.SIGINT, previous)
        console.print("Everything is stopped.")


def _print_links(ui: str, endpoint: str | None, home: Path) -> None:
    console.print(f"\n  Dagster UI        {ui}")
    if endpoint:
        console.print(f"  Endpoint          {endpoint}/v1   (API key in {home / 'endpoint' / 'api_key'})")
        console.print(f"  Chat              {endpoint}/")
        console.print(f"  Metrics           {endpoint}/metrics")
    console.print("\nCtrl-C stops all of it. Try: llm-assets chat, llm-assets simulate --shift, llm-assets status")
