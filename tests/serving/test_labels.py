"""Pairs, votes and what comes of them: over HTTP, in the files, and as training data."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import tiny_package

from llm_assets.serving.agreement import krippendorff_alpha, position, wilson
from llm_assets.serving.feedback import accept_votes
from llm_assets.serving.labels import (
    PAIRS,
    VOTES,
    Vote,
    add_pairs,
    add_vote,
    make_pair,
    next_pairs,
    read_pairs,
    read_votes,
    shown_order,
    undo_vote,
    verdicts,
)
from llm_assets.versions.fragments import fragments
from llm_assets.versions.purge import purge_files, record_matcher

SOME = [make_pair("chat", f"question {at}", (f"long answer {at}", f"answer {at}"), "posted") for at in range(40)]


@pytest.fixture
def http(live):
    headers = {"authorization": f"Bearer {live.api_key()}"}
    with httpx.Client(base_url=f"{live.url}/v1/label", headers=headers, timeout=20, trust_env=False) as made:
        yield made


def post_pairs(http: httpx.Client, *rows: dict) -> httpx.Response:
    return http.post("/pairs", content="\n".join(map(json.dumps, rows)))


# ---- over HTTP
def test_a_pair_is_voted_on_blind_and_the_place_is_stored(http, live):
    posted = {"text": "which one", "replies": ["the good one", "the bad one"], "task": "route"}
    assert post_pairs(http, posted).json() == {"posted": 1, "added": 1}
    assert post_pairs(http, posted | {"replies": posted["replies"][::-1]}).json() == {"posted": 1, "added": 0}
    turn = http.get("/next", params={"reviewer": "ada"}).json()
    assert set(turn["pair"]) == {"id", "task", "text", "left", "right"}, "nothing tells which reply is whose"
    side = "left" if turn["pair"]["left"] == "the good one" else "right"
    after = http.post("/votes", json={"pair": turn["pair"]["id"], "reviewer": "ada", "choice": side}).json()
    assert after["pair"] is None and after["progress"] == {"mine": 1, "left": 0, "pairs": 1, "decided": 1}
    (vote,) = read_votes(live.home)
    pair = read_pairs(live.home)[vote.pair]
    assert getattr(pair, vote.choice) == "the good one" and vote.position == side
    assert http.get("/next", params={"reviewer": "grace"}).json()["pair"]["id"] == pair.id
    back = http.post("/undo", json={"reviewer": "ada"}).json()
    assert back["pair"]["id"] == pair.id and back["progress"]["decided"] == 0 and read_votes(live.home) == []
    assert http.post("/undo", json={"reviewer": "ada"}).json()["error"]["code"] == "no_vote"
    assert not http.get("/export").text
    http.post("/votes", json={"pair": pair.id, "reviewer": "ada", "choice": side})
    exported = http.get("/export")
    assert exported.headers["content-type"].startswith("application/jsonl")
    assert [json.loads(line)["chosen"][0]["content"] for line in exported.text.splitlines()] == ["the good one"]
    metrics = httpx.get(f"{live.url}/metrics", trust_env=False).text
    assert f'llm_assets:label_votes_total{{choice="{side}"}} 2.0' in metrics


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"text": "x", "replies": ["a", "a"]}, "line 2: the two replies are the same"),
        ({"text": "x", "replies": ["a"]}, "line 2: 'replies'"),
        ({"text": "", "replies": ["a", "b"]}, "line 2: 'text'"),
        ({"text": "x", "replies": ["a", "b"], "winner": "a"}, "line 2: unknown parameter: 'winner'"),
        ({"text": "x", "replies": ["a", "b"], "task": "sing"}, "line 2: task 'sing' is not one of chat, route, summ"),
        ([1], "line 2: the body must be a JSON object"),
    ],
)
def test_a_wrong_line_is_named_and_nothing_is_added(http, live, line, said):
    before = len(read_pairs(live.home))
    reply = post_pairs(http, {"text": "right", "replies": ["y", "z"]}, line)
    assert reply.status_code == 400 and reply.json()["error"]["message"].startswith(said), reply.text
    assert len(read_pairs(live.home)) == before


def test_what_is_wrong_with_a_vote_is_said(http):
    body = {"pair": "none", "reviewer": "ada", "choice": "left"}
    for change, status, param in (
        ({}, 404, "pair"),
        ({"choice": "up"}, 400, "choice"),
        ({"reviewer": ""}, 400, "reviewer"),
        ({"extra": 1}, 400, "extra"),
    ):
        reply = http.post("/votes", json=body | change)
        assert (reply.status_code, reply.json()["error"]["param"]) == (status, param)
    assert http.get("/next").json()["error"]["param"] == "reviewer"
    assert http.post("/sample", json={"count": 0}).json()["error"]["param"] == "count"


def test_label_routes_need_the_key(live):
    with httpx.Client(base_url=live.url, trust_env=False) as stranger:
        assert stranger.get("/label").status_code == stranger.get("/live").status_code == 200
        for path in ("next?reviewer=a", "agreement", "export"):
            assert stranger.get(f"/v1/label/{path}").status_code == 401
        for path in ("votes", "undo", "pairs", "sample"):
            assert stranger.post(f"/v1/label/{path}", json={}).status_code == 401


def test_pairs_are_sampled_from_traffic_once_and_are_no_traffic(http, live):
    from llm_assets.serving.traffic import read_traffic

    headers = {"authorization": f"Bearer {live.api_key()}"}
    for text in ("tell me a thing", "tell me another", tiny_package.ROWS[0][0]):
        body = {"model": "llm-assets", "messages": [{"role": "user", "content": text}], "max_tokens": 12}
        httpx.post(f"{live.url}/v1/chat/completions", json=body, headers=headers, trust_env=False)
    http.get("/agreement")  # a reply is in the log when the next request is answered
    logged = len(read_traffic(live.home))
    assert logged >= 3
    made = http.post("/sample", json={"count": 3}).json()
    assert made["sampled"] == 3 and made["added"] >= 1
    assert len(read_traffic(live.home)) == logged
    sampled = [pair for pair in read_pairs(live.home).values() if pair.origin == "traffic"]
    assert len(sampled) == made["added"] and {pair.digest for pair in sampled} == {"good-digest"}
    paired = {pair.text for pair in sampled}
    again = http.post("/sample", json={"count": 3}).json()
    assert again["sampled"] == 3 - len(paired), "what has a pair is not sampled again"


# ---- the files
def test_reviewers_see_orders_of_their_own_and_what_others_judged_first(tmp_path):
    add_pairs(tmp_path, SOME)
    pairs = read_pairs(tmp_path)
    queues = {name: [pair.id for pair in next_pairs(pairs, [], name, 2)] for name in ("ada", "grace")}
    assert sorted(queues["ada"]) == sorted(queues["grace"]) == sorted(pairs) and queues["ada"] != queues["grace"]
    orders = {name: [shown_order(pair, name) for pair in sorted(pairs)] for name in ("ada", "grace")}
    assert orders["ada"] != orders["grace"]
    many = Counter(shown_order(str(at), "ada") for at in range(2000))
    assert wilson(many["ab"], 2000)[0] < 0.5 < wilson(many["ab"], 2000)[1], "each reply is left half the time"
    for name in queues["ada"][:3]:
        add_vote(tmp_path, pairs[name], "ada", "a")
    add_vote(tmp_path, pairs[queues["ada"][3]], "ada", "skip")
    grace = [pair.id for pair in next_pairs(pairs, read_votes(tmp_path), "grace", 2)]
    assert set(grace[:3]) == set(queues["ada"][:3]) and len(grace) == 40
    assert [pair.id for pair in next_pairs(pairs, read_votes(tmp_path), "ada", 2)] == queues["ada"][4:]
    for name in queues["ada"][:3]:
        add_vote(tmp_path, pairs[name], "grace", "b")
    assert len(next_pairs(pairs, read_votes(tmp_path), "lin", 2)) == 37, "two votes are enough"


def test_votes_survive_a_torn_line_and_many_writers(tmp_path):
    add_pairs(tmp_path, SOME)
    add_vote(tmp_path, SOME[0], "ada", "a")
    with (tmp_path / VOTES).open("ab") as stream:
        stream.write(b'{"id": "vote-torn", "pair": "')
    with ThreadPoolExecutor(8) as many:
        list(many.map(lambda at: add_vote(tmp_path, SOME[at % 40], f"reviewer {at // 40}", "b"), range(400)))
    assert len(read_votes(tmp_path)) == 401
    assert undo_vote(tmp_path, "ada") and undo_vote(tmp_path, "ada") is None
    assert len(read_votes(tmp_path)) == 400


def test_the_last_vote_of_a_reviewer_on_a_pair_counts_and_undo_brings_the_one_before_back(tmp_path):
    add_pairs(tmp_path, SOME[:1])
    for choice in ("a", "b"):
        add_vote(tmp_path, SOME[0], "ada", choice)
    assert [vote.choice for vote in read_votes(tmp_path)] == ["b"]
    undo_vote(tmp_path, "ada")
    assert [vote.choice for vote in read_votes(tmp_path)] == ["a"]


@pytest.mark.parametrize(
    ("choices", "verdict"),
    [
        ("a", "a"), ("ab", None), ("aab", "a"), ("b-", "b"), ("-", None), ("t", "tie"), ("at", None), ("aat", "a"),
        ("abt", None),
    ],
)  # fmt: skip
def test_a_verdict_needs_more_votes_than_any_other(choices, verdict):
    sides = {"a": "a", "b": "b", "t": "tie", "-": "skip"}
    votes = [Vote(str(at), SOME[0].id, str(at), sides[c], "ab") for at, c in enumerate(choices)]  # type: ignore[arg-type]
    assert verdicts({SOME[0].id: SOME[0]}, votes).get(SOME[0].id) == verdict


def test_votes_become_preference_pairs_and_go_when_taken_back(tmp_path):
    add_pairs(tmp_path, SOME[:3])
    assert accept_votes(tmp_path).count == 0 and not (tmp_path / "feedback" / "labelled.jsonl").exists()
    for pair, choice in zip(SOME[:3], ("a", "b", "tie"), strict=True):
        add_vote(tmp_path, pair, "ada", choice)
    first = accept_votes(tmp_path)
    rows = {row["id"]: row for row in tiny_package.read_lines(first.path)}
    assert (first.count, first.new) == (2, 2) and rows.keys() == {SOME[0].id, SOME[1].id}
    assert rows[SOME[1].id] == {
        "id": SOME[1].id, "task": "chat", "text": SOME[1].text, "chosen": SOME[1].b, "rejected": SOME[1].a,
    }  # fmt: skip
    content = first.path.read_bytes()
    assert accept_votes(tmp_path).new == 0 and first.path.read_bytes() == content
    undo_vote(tmp_path, "ada")
    undo_vote(tmp_path, "ada")
    assert accept_votes(tmp_path).count == 1
    undo_vote(tmp_path, "ada")
    assert accept_votes(tmp_path).count == 0 and first.path.read_text() == ""


def test_an_erasure_takes_pairs_and_their_votes_lose_their_meaning(tmp_path):
    text = "People would like to know how the weight of a very particular thing may be found quickly."
    mine = make_pair("chat", "asked", (text, "no"), "posted")
    add_pairs(tmp_path, [mine, SOME[0]])
    for pair in (mine, SOME[0]):
        add_vote(tmp_path, pair, "ada", "a")
    accept_votes(tmp_path)
    size = (tmp_path / PAIRS).stat().st_size
    done = purge_files(tmp_path, record_matcher(set(), set(), fragments([text])))
    assert {line.partition(":")[0] for line in done} == {"feedback/labelled.jsonl", "feedback/labels/pairs.jsonl"}
    assert all(text not in path.read_text() for path in (tmp_path / "feedback").rglob("*.jsonl"))
    assert (tmp_path / PAIRS).stat().st_size == size, "an appending server keeps its place"
    assert list(read_pairs(tmp_path)) == [SOME[0].id] and accept_votes(tmp_path).count == 1


def test_the_export_is_what_trl_reads(http, live, tmp_path):
    from datasets import load_dataset
    from trl.data_utils import is_conversational, maybe_extract_prompt

    post_pairs(http, {"text": "in <b>German</b>, bitte: “Maß”", "replies": ["Maß\n1", "Maß\u20282"]})
    turn = http.get("/next", params={"reviewer": "trl"}).json()
    http.post("/votes", json={"pair": turn["pair"]["id"], "reviewer": "trl", "choice": "left"})
    path = tmp_path / "preferences.jsonl"
    path.write_bytes(http.get("/export").content)
    rows = load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert rows.column_names == ["prompt", "chosen", "rejected"] and len(rows) >= 1
    assert all(is_conversational(row) and maybe_extract_prompt(row) == row for row in rows)
    assert turn["pair"]["left"] in {row["chosen"][0]["content"] for row in rows}


# ---- agreement
def test_alpha_of_krippendorffs_own_example():
    """Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", C: four observers, twelve units, 0.743."""
    observers = [
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    ]
    table = [row.split() for row in observers]
    units = [[row[at] for row in table if row[at] != "."] for at in range(12)]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=5e-4)


def test_alpha_at_its_ends():
    assert krippendorff_alpha([["a", "a"], ["b", "b"], ["tie", "tie"]]) == 1
    assert krippendorff_alpha([["a", "b"], ["b", "a"]]) == pytest.approx(-0.5)
    assert krippendorff_alpha([["a"], ["b"]]) is None and krippendorff_alpha([["a", "a"]]) is None
    assert krippendorff_alpha([]) is None


def test_alpha_of_two_is_close_to_kappa_of_many(tmp_path):
    """Against scikit-learn's kappa, which it nears as units grow when both reviewers answer alike often."""
    import numpy as np
    from sklearn.metrics import cohen_kappa_score

    chance = np.random.default_rng(5)
    first = chance.choice(["a", "b", "tie"], 4000, p=[0.45, 0.45, 0.1])
    second = np.where(chance.random(4000) < 0.7, first, chance.choice(["a", "b", "tie"], 4000, p=[0.45, 0.45, 0.1]))
    units = [list(pair) for pair in zip(first, second, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(cohen_kappa_score(first, second), abs=2e-3)


def test_a_favoured_side_is_told_and_an_even_one_is_not():
    def votes(left: int, right: int) -> list[Vote]:
        return [Vote(str(at), str(at), "ada", "a", "ab" if at < left else "ba") for at in range(left + right)]

    even, left = position(votes(26, 24)), position(votes(40, 10))
    assert (even["share_left"], even["biased"]) == (0.52, False) and (left["left"], left["biased"]) == (40, True)
    low, high = left["interval"]
    assert (low, high) == pytest.approx((0.6696, 0.8876), abs=1e-4), "Wilson's interval of 40 of 50"
    assert position([Vote("1", "1", "ada", "tie", "ab")])["share_left"] is None
