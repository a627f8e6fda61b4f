"""The traffic log and what it turns into."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime, timedelta

import pytest
import tiny_package

from llm_assets.serving.append_log import append, read_lines
from llm_assets.serving.feedback import accept_feedback, pending_feedback
from llm_assets.serving.traffic import TrafficLog, log_state, now, read_traffic


def record(name: str, text: str = "a text", reply: str = "web", **more) -> dict:
    return {
        "id": name, "at": now(), "model": "llm-assets-route", "task": "route", "text": text, "reply": reply,
        "prompt_tokens": 5, "completion_tokens": 2, "latency_ms": 3.0, "ttft_ms": 2.0, "status": 200,
        "finish_reason": "stop", "cached": False, "digest": "d1",
    } | more  # fmt: skip


def test_torn_and_foreign_lines_are_skipped_and_swallow_nothing(tmp_path):
    log = TrafficLog(tmp_path)
    log.request(record("a"))
    path = next((tmp_path / "traffic").glob("*.jsonl"))
    with path.open("ab") as stream:
        stream.write(b'[1, 2]\n{"no id": 1}\n{"id": "torn", "text": "cut of')
    assert list(read_traffic(tmp_path)["id"]) == ["a"]
    log.request(record("b"))
    assert sorted(read_traffic(tmp_path)["id"]) == ["a", "b"]


def _write(home, name):
    log = TrafficLog(home)
    for at in range(200):
        log.request(record(f"{name}-{at}", text="x" * 500))


def test_writers_do_not_mix(tmp_path):
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(tmp_path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert len(read_traffic(tmp_path)) == 600


def test_window_and_digest(tmp_path):
    log = TrafficLog(tmp_path)
    old = (datetime.now(UTC) - timedelta(hours=2)).isoformat(timespec="milliseconds")
    log.request(record("old", at=old))
    log.request(record("new", digest="d2"))
    assert list(read_traffic(tmp_path, since=datetime.now(UTC) - timedelta(hours=1))["id"]) == ["new"]
    assert list(read_traffic(tmp_path, digest="d1")["id"]) == ["old"]
    assert read_traffic(tmp_path / "nothing").empty


def test_state_changes_with_traffic_and_feedback(tmp_path):
    log, states = TrafficLog(tmp_path), [log_state(tmp_path)]
    log.request(record("a"))
    states.append(log_state(tmp_path))
    log.request(record("p"), probe=True)
    assert log_state(tmp_path) == states[-1]
    log.feedback({"id": "a", "at": now(), "rating": "up", "correction": None})
    states.append(log_state(tmp_path))
    assert len(set(states)) == 3


def test_feedback_becomes_training_data_once(tmp_path):
    log = TrafficLog(tmp_path)
    for name, text, reply in (
        ("a", "text 1", "web"),
        ("b", "text 2", "web"),
        ("c", "text 3", "web"),
        ("d", "text 1", "web"),
    ):
        log.request(record(name, text, reply))
    log.request(record("s", "text 4", "a summary", task="summarise"))
    for name, rating, correction in (
        ("a", "down", "tables"), ("b", "up", None), ("c", "down", None), ("s", "down", "another summary"),
        ("x", "up", None),
    ):  # fmt: skip
        log.feedback({"id": name, "at": now(), "rating": rating, "correction": correction})
    assert pending_feedback(tmp_path)[1] == 2
    first = accept_feedback(tmp_path)
    assert (first.count, first.new) == (2, 2)
    rows = tiny_package.read_lines(first.path)
    assert {(row["text"], row["label"]) for row in rows} == {("text 1", "tables"), ("text 2", "web")}
    assert {row["uri"] for row in rows} == {"reply://a", "reply://b"}
    assert set(rows[0]) == {"id", "text", "label", "uri", "licence", "source"}

    content = first.path.read_bytes()
    again = accept_feedback(tmp_path)
    assert (again.count, again.new, again.digest) == (
        2,
        0,
        first.digest,
    ) and first.path.read_bytes() == content

    log.feedback({"id": "d", "at": now(), "rating": None, "correction": "arrays"})  # the last word on text 1
    later = accept_feedback(tmp_path)
    assert (later.count, later.new) == (2, 1)
    assert {row["label"] for row in tiny_package.read_lines(later.path)} == {"arrays", "web"}

    for path in (tmp_path / "traffic").glob("*.jsonl"):
        path.unlink()
    assert accept_feedback(tmp_path).count == 2, "what was accepted stays when the log has gone"


def test_later_thumb_keeps_an_earlier_correction(tmp_path):
    log = TrafficLog(tmp_path)
    log.request(record("a"))
    log.feedback({"id": "a", "at": now(), "rating": None, "correction": "tables"})
    log.feedback({"id": "a", "at": now(), "rating": "down", "correction": None})
    row = read_traffic(tmp_path).iloc[0]
    assert (row["rating"], row["correction"]) == ("down", "tables")


@pytest.mark.parametrize("stop", [(), ("rr",), ("ays", "zz")])
@pytest.mark.parametrize("together", [1, 3, 100])
def test_streamed_text_never_shows_a_stop_text_or_half_a_character(packages, stop, together):
    from tokenizers import Tokenizer

    from llm_assets.serving.reply_text import ReplyText

    tokenizer = Tokenizer.from_file(str(packages["good"] / "tokenizer.json"))
    text = "arrays — ein Maß 🙂 für web"
    state = ReplyText(tokenizer, stop)
    pieces, ids = [], tokenizer.encode(text).ids
    for at in range(0, len(ids), together):
        pieces.append(state.add(ids[at : at + together]))
        if state.stopped:
            break
    pieces.append(state.rest())
    expected = text[: min((text.find(s) for s in stop if s in text), default=len(text))]
    assert "".join(pieces) == expected
    assert not any("\ufffd" in piece for piece in pieces)


def test_any_text_comes_out_of_the_log_as_it_went_in(tmp_path):
    """Also half of a pair of UTF-16, which no UTF-8 has: a client may send it, and a model may say it."""
    path = tmp_path / "log.jsonl"
    texts = ["plain", 'quoted "and" \\', "a\nb\u2028c", "é 漢 🙂", "\ud83d alone", ""]
    for text in texts:
        assert append(path, {"id": text, "share": 0.1, "none": None, "ids": [1, 2**70]})
        assert append(path, {"id": text, "share": 1e-7})
    found = list(read_lines(path))
    assert [record["id"] for record in found] == [text for text in texts for _ in range(2)]
    assert found[0] == {"id": "plain", "share": 0.1, "none": None, "ids": [1, 2**70]} and found[1]["share"] == 1e-7
    assert path.read_bytes().count(b"\n") == len(found)
