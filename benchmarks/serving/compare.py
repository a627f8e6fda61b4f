"""The comparison with other engines: interleaved rounds, the best of them in every cell, and the bars."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .bars import Bar, at_least, at_most
from .contenders import CONTENDERS, Contender, Peers
from .models import Prepared
from .workload import WARM, Cell, measure

REQUESTS = {1: 3, 4: 8, 8: 16, 16: 32}  # concurrency -> requests of a cell: each client comes back once or more
THROUGHPUT = 1.1  # times the best peer's
OURS = "llm-assets"
AGREEMENT = 0.1  # of the first tokens' text with transformers' in fp32; engines given other weights agree in none


def measure_rounds(
    model: Prepared, peers: Peers, rounds: int, chosen: Iterable[Contender] = CONTENDERS
) -> list[dict[str, Any]]:
    """One dict a contender and concurrency: model, name, group, concurrency, rounds (each round's figures), best."""
    cells: dict[tuple[str, str, int], dict[str, Any]] = {}
    for number in range(rounds):
        for contender in chosen:
            if contender.slow and number:
                continue
            print(f"{model.name}, round {number + 1} of {rounds}: {contender.name} {contender.group}", flush=True)
            with contender.running(model, peers) as run:
                agreement = model.agreement(run(WARM))
                if contender.group != "int4" and agreement < AGREEMENT:
                    raise RuntimeError(
                        f"{contender.name} agrees with transformers in {agreement:.0%} of the tokens only"
                    )
                for concurrency, requests in REQUESTS.items():
                    wanted = Cell(concurrency, concurrency if contender.slow else requests)
                    key = (contender.name, contender.group, concurrency)
                    cell = cells.setdefault(
                        key,
                        {
                            "model": model.name,
                            "name": contender.name,
                            "group": contender.group,
                            "concurrency": concurrency,
                            "agreement": agreement,
                            "rounds": [],
                        },
                    )
                    cell["rounds"].append(measure(run(wanted)))
    for cell in cells.values():
        cell["best"] = best(cell["rounds"])
    return list(cells.values())


def best(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Each figure's best: others' work on the machine only ever makes one worse."""
    return {name: (max if name == "tokens_per_second" else min)(found[name] for found in rounds) for name in rounds[0]}


def bars(cells: list[dict[str, Any]]) -> list[Bar]:
    """Ours against the best peer of the same precision: throughput, and the 95th percentile of the first token."""
    found = []
    for ours in (cell for cell in cells if cell["name"] == OURS):
        same = ("model", "group", "concurrency")
        peers = [cell for cell in cells if cell["name"] != OURS and all(cell[key] == ours[key] for key in same)]
        if not peers:
            continue
        where = f"{ours['model']} {ours['group']}, {ours['concurrency']} concurrent"
        fastest = max(peer["best"]["tokens_per_second"] for peer in peers)
        first = min(peer["best"]["ttft_p95_ms"] for peer in peers)
        found.append(
            at_least(f"{where}: tokens/s over the best peer's", ours["best"]["tokens_per_second"] / fastest, THROUGHPUT)
        )
        found.append(at_most(f"{where}: p95 TTFT over the best peer's", ours["best"]["ttft_p95_ms"] / first, 1.0))
    return found
