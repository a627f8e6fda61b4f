"""Few-shot examples: typical of their answer, unlike each other, within a budget of characters."""

from __future__ import annotations

from collections.abc import Sequence

from llm_assets.prompts.config import PromptsConfig
from llm_assets.prompts.templates import Shot, cut_text

POOL = 1500  # train rows that compete; more changes little and costs time
TYPICAL = 0.6  # weight of relevance against diversity, as in maximal marginal relevance (Carbonell, Goldstein 1998)


def choose_shots(rows: Sequence[tuple[str, str]], config: PromptsConfig, seed: int) -> list[Shot]:
    """Up to `config.shots` of the (text, answer) rows, by maximal marginal relevance on TF-IDF vectors.

    Relevance is the similarity to the pool's centre, so that the examples look like what will be asked; diversity,
    the dissimilarity to those already chosen. An answer is not repeated while another is left.
    """
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    drawn = np.sort(np.random.default_rng(seed).permutation(len(rows))[:POOL])
    pool = [(cut_text(rows[at][0], config.shot_chars), rows[at][1]) for at in drawn.tolist()]
    try:
        vectors = TfidfVectorizer(sublinear_tf=True).fit_transform([text for text, _ in pool])
    except ValueError:  # no word of two letters in the whole pool
        return [Shot(text=text, answer=answer) for text, answer in pool[:1]]
    centre = np.asarray(vectors.mean(axis=0)).ravel()
    relevance = vectors @ (centre / max(float(np.linalg.norm(centre)), 1e-12))
    closest = np.zeros(len(pool))
    shots: list[Shot] = []
    left = config.few_shot_chars
    allowed = np.array([len(text) + len(answer) <= left for text, answer in pool])
    while len(shots) < config.shots and allowed.any():
        score = np.where(allowed, TYPICAL * relevance - (1 - TYPICAL) * closest, -np.inf)
        best = int(score.argmax())
        text, answer = pool[best]
        shots.append(Shot(text=text, answer=answer))
        left -= len(text) + len(answer)
        closest = np.maximum(closest, np.asarray((vectors @ vectors[best].T).todense()).ravel())
        used = {shot.answer for shot in shots}
        fits = np.array([len(text) + len(answer) <= left for text, answer in pool])
        fresh = fits & np.array([answer not in used for _, answer in pool])
        fits[best] = False
        allowed = fresh if fresh.any() else fits & ~np.isin([text for text, _ in pool], [shot.text for shot in shots])
    return shots
