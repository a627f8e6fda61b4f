"""How a token is chosen, against transformers' own processors of logits: the same tokens may come, equally often."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.serving.sampling import Sampler, Sampling, _at, _draw

VOCAB, EOS, DRAWS = 60, 1, 20_000


def logits(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 3, VOCAB).astype(np.float32)


def frequencies(scores: np.ndarray, sampling: Sampling) -> np.ndarray:
    """How often each token comes over an even grid of draws: its probability, to half of 1 / DRAWS."""
    chosen = [_draw(scores, sampling, (at + 0.5) / DRAWS) for at in range(DRAWS)]
    return np.bincount(chosen, minlength=VOCAB) / DRAWS


def expected(scores: np.ndarray, sampling: Sampling) -> np.ndarray:
    """The distribution that transformers draws from."""
    import torch
    from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    left = torch.tensor(scores.astype(np.float64))[None]
    ids = torch.zeros((1, 1), dtype=torch.long)
    left = TemperatureLogitsWarper(float(sampling.temperature))(ids, left)
    if sampling.top_k:
        left = TopKLogitsWarper(sampling.top_k)(ids, left)
    if sampling.top_p < 1:
        left = TopPLogitsWarper(sampling.top_p)(ids, left)
    if sampling.min_p:
        left = MinPLogitsWarper(sampling.min_p)(ids, left)
    return left.softmax(-1)[0].numpy()


CASES = [
    {"temperature": heat, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    for heat, top_k, top_p, min_p in itertools.product((0.3, 1.0, 2.0), (0, 1, 7), (0.2, 0.9, 1.0), (0.0, 0.15))
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_tokens_come_as_often_as_those_of_transformers(case):
    sampling = Sampling(8, **case)
    scores = logits(CASES.index(case))
    assert np.abs(frequencies(scores, sampling) - expected(scores, sampling)).max() <= 1 / DRAWS


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=700).filter(any),
    st.one_of(st.floats(0, 1, exclude_max=True), st.just(np.nextafter(1, 0))),
)
def test_the_token_is_the_one_at_that_share_of_the_mass(counts, share):
    """Also where zeros come first, last or fill whole blocks. Sums of whole numbers are exact."""
    weights = np.array(counts, np.float32)
    sums = np.cumsum(counts)
    want = next((at for at, mass in enumerate(sums) if mass > share * sums[-1]), int(np.flatnonzero(counts)[-1]))
    assert _at(weights, share) == want


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 3000),
    st.integers(0, 60),
    st.floats(0.01, 1),
    st.sampled_from([0.01, 0.8, 2.0]),
)
def test_what_is_drawn_from_a_large_vocabulary_is_what_sorting_it_leaves(seed, vocab, top_k, top_p, temperature):
    drawn = np.random.default_rng(seed)
    scores = np.round(drawn.normal(0, 3, vocab), 1).astype(np.float32)  # many are equal
    scores[drawn.random(vocab) < 0.1] = -np.inf
    scores[drawn.integers(vocab)] = 5
    order = np.argsort(-scores, kind="stable")[: top_k or None]
    weights = np.exp((scores[order].astype(np.float64) - scores.max()) / temperature)
    mass = np.cumsum(weights) / weights.sum()
    sampling = Sampling(8, temperature=temperature, top_k=top_k, top_p=top_p)
    surely, perhaps = (order[np.append(0, mass[:-1]) < top_p + slack] for slack in (-1e-5, 1e-5))
    tokens = {_draw(scores, sampling, draw) for draw in (*drawn.random(50), 0.0, np.nextafter(1, 0))}
    assert tokens <= set(perhaps.tolist())
    # The first token that may come is not told from those whose mass single precision rounds away.
    assert _draw(scores, sampling, 0.0) <= min(surely)


def test_equal_logits_are_all_likely_and_top_k_takes_the_first():
    scores = np.zeros(VOCAB, np.float32)
    assert np.allclose(frequencies(scores, Sampling(8, temperature=1.0)), 1 / VOCAB, atol=1 / DRAWS)
    assert np.flatnonzero(frequencies(scores, Sampling(8, temperature=1.0, top_k=3))).tolist() == [0, 1, 2]


def adjusted(sampling: Sampling, prompt: list[int], said: list[int], scores: np.ndarray) -> np.ndarray:
    """A row's scores after it has said so many tokens."""
    sampler = Sampler(sampling, prompt, EOS)
    for at, token in enumerate(said):
        sure = np.full(VOCAB, -1e9, np.float32)
        sure[token] = 1e9
        assert sampler.choose(sure, at)[0] == token
    before = scores.copy()
    found = sampler._adjusted(scores, len(said))
    assert np.array_equal(scores, before), "the batch's logits stay as they were"
    return found


@pytest.mark.parametrize("penalty", [0.5, 1.3, 4.0])
def test_the_repetition_penalty_is_that_of_transformers(penalty):
    """Of prompt and reply, each token once however often it came."""
    import torch
    from transformers import RepetitionPenaltyLogitsProcessor

    prompt, said, scores = [3, 4, 4, 9], [9, 12, 12, 30], logits(1)
    got = adjusted(Sampling(8, repetition_penalty=penalty), prompt, said, scores)
    processor = RepetitionPenaltyLogitsProcessor(penalty)
    want = processor(torch.tensor([prompt + said]), torch.tensor(scores)[None])[0].numpy()
    assert np.allclose(got, want, rtol=1e-6)


def test_presence_and_frequency_are_openais():
    """logit -= frequency * times it was said + presence * whether it was said; the prompt does not count."""
    prompt, said, scores = [3, 4], [12, 12, 30, 12], logits(2)
    got = adjusted(Sampling(8, presence_penalty=0.7, frequency_penalty=-0.4), prompt, said, scores)
    want = scores.copy()
    want[12] -= 0.7 - 0.4 * 3
    want[30] -= 0.7 - 0.4
    assert np.allclose(got, want, rtol=1e-6)


def test_bias_and_the_end():
    scores = logits(3)
    biased = adjusted(Sampling(8, logit_bias=((5, 2.5), (7, -100.0))), [3], [], scores)
    assert biased[5] == pytest.approx(scores[5] + 2.5) and biased[7] == pytest.approx(scores[7] - 100)
    for sampling, said, banned in (
        (Sampling(8, min_tokens=2, presence_penalty=0.1), [9], True),
        (Sampling(8, min_tokens=2, presence_penalty=0.1), [9, 9], False),
        (Sampling(8, ignore_eos=True), [9] * 5, True),
    ):
        assert (adjusted(sampling, [3], said, scores)[EOS] == -np.inf) == banned


def test_log_probabilities_are_the_models_own():
    """Before penalties, bias, temperature and truncation."""
    scores = logits(4)
    sampling = Sampling(8, temperature=2.0, top_k=3, logit_bias=((5, 50.0),), logprobs=4, seed=1)
    token, told = Sampler(sampling, [3], EOS).choose(scores, 0)
    exact = scores.astype(np.float64) - np.log(np.exp(scores.astype(np.float64)).sum())
    assert token == told.token == 5 and told.logprob == pytest.approx(exact[5])
    ranked = np.argsort(-exact)[:4]
    assert [at for at, _ in told.top] == ranked.tolist()
    assert [value for _, value in told.top] == pytest.approx(exact[ranked].tolist())
