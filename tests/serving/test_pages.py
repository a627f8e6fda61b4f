"""The endpoint's pages in a real browser, as a person uses them."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise

import httpx
import pytest
import tiny_encoder
import tiny_package
from browser import CONTRAST, UNNAMED
from playwright.sync_api import Page, expect, sync_playwright
from slow_line import slow_line
from tiny_package import free_port

from llm_assets.compression.export_encoder import export_encoder
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.labels import read_pairs, read_votes
from llm_assets.serving.traffic import read_traffic
from resources.endpoint import Endpoint

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
WIDE = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def browser():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no `chromium` on PATH: install it to look at the pages in a browser")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield made
        made.close()


@pytest.fixture
def page(browser):
    """A page that fails the test when the browser reports an error, or a request to anywhere else."""
    opened, wrong = browser.new_page(viewport=WIDE), []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    opened.on("request", lambda asked: wrong.append(asked.url) if "127.0.0.1" not in asked.url else None)
    opened.wrong = wrong
    yield opened
    opened.close()
    assert not [text for text in wrong if not text.startswith(("blob:", "data:"))]


@pytest.fixture
def http(live):
    with httpx.Client(
        base_url=live.url, headers={"authorization": f"Bearer {live.api_key()}"}, timeout=20, trust_env=False
    ) as made:
        yield made


def visit(page: Page, live, path: str) -> Page:
    page.goto(f"{live.url}{path}#key={live.api_key()}")
    expect(page.locator("#state")).to_have_text(re.compile("serving good-digest"))
    assert "key=" not in page.url
    return page


def say(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.keyboard.press("Enter")


def test_chat_answers_and_takes_a_thumb_and_a_correction(live, page):
    text, label = tiny_package.ROWS[0]
    visit(page, live, "/")
    expect(page.locator("#model option")).to_have_count(3)
    say(page, text)
    turn = page.locator(".turn").last
    expect(turn.locator(".reply")).to_have_text(label)
    expect(turn.locator(".facts")).to_contain_text("llm-assets-route")
    turn.get_by_role("button", name="Right").click()
    expect(turn.get_by_role("button", name="Right")).to_have_attribute("aria-pressed", "true")
    turn.get_by_role("button", name="Correct").click()
    turn.get_by_label("The right answer").fill("tables")
    page.keyboard.press("Enter")
    expect(turn.get_by_role("status")).to_have_text("Correction saved.")
    row = read_traffic(live.home).iloc[-1]
    assert (row["text"], row["reply"], row["rating"], row["correction"]) == (text, label, "up", "tables")


def test_chat_with_an_encoder_shows_the_class_and_takes_a_correction(endpoint, page, tmp_path):
    same = {label: label for label in tiny_package.LABELS}
    export_encoder(tiny_encoder.train(tmp_path / "encoder", same), tmp_path / "package", "fp32", "finetuned_model")
    endpoint.deploy(tmp_path / "package", "good-digest")
    endpoint.start()
    endpoint.wait_serving("good-digest")
    visit(page, endpoint, "/")
    expect(page.locator("#model option")).to_have_count(1)
    for text, label in (tiny_package.ROWS[0], (HOSTILE, None), tiny_package.ROWS[-1]):
        say(page, text)
        turn = page.locator(".turn").last
        expect(turn.locator(".facts")).to_contain_text(re.compile(r"probability [01]\.\d\d · llm-assets"))
        if label:
            expect(turn.locator(".reply")).to_have_text(label)
    turn.get_by_role("button", name="Wrong").click()
    turn.get_by_role("button", name="Correct").click()
    turn.get_by_label("The right answer").fill("tables")
    page.keyboard.press("Enter")
    expect(turn.get_by_role("status")).to_have_text("Correction saved.")
    row = read_traffic(endpoint.home).iloc[-1]
    assert (row["text"], row["rating"], row["correction"]) == (tiny_package.ROWS[-1][0], "down", "tables")


WATCH = """() => { window.seen = []; new MutationObserver(() => {
  const reply = [...document.querySelectorAll('.reply')].pop();
  if (reply && window.seen.at(-1) !== reply.textContent) window.seen.push(reply.textContent);
  if (!window.stopAtText || !reply?.textContent) return;
  window.stopAtText = false; document.getElementById('stop').click();
}).observe(document.getElementById('turns'), {subtree: true, childList: true, characterData: true}); }"""


STORIES = {
    "arrays": "an array holds numbers of one kind, side by side, and is read from the first to the last",
    "tables": "a table has rows and columns, and a column has a name and a kind that all of its rows share",
    "web": "a request goes out, an answer comes back, and between the two somebody waits for the network",
}


@pytest.fixture(scope="module")
def talker(tmp_path_factory):
    """An endpoint whose model knows some long replies by heart."""
    root = tmp_path_factory.mktemp("talker")
    tiny_package.export(tiny_package.train(root / "checkpoint", STORIES, 150), root / "package", 1.0)
    made = Endpoint(root / "home", ServingConfig(port=free_port()), threads=1)
    made.deploy(root / "package", "good-digest")
    made.start()
    made.wait_serving("good-digest")
    yield made
    made.stop(seconds=3)


def test_tokens_stream_and_stop(talker, page):
    (arrays, _), (web, _) = tiny_package.ROWS[0], tiny_package.ROWS[-1]
    with slow_line(talker.port) as url:
        page.goto(f"{url}/#key={talker.api_key()}")
        page.locator("#model").select_option("llm-assets")
        page.evaluate(WATCH)
        say(page, arrays)
        expect(page.locator(".facts").last).to_contain_text("tokens in", timeout=30_000)
        seen = [text for text in page.evaluate("window.seen") if text]
        assert len(seen) > 1 and all(b.startswith(a) for a, b in pairwise(seen)), seen
        assert seen[-1] == STORIES["arrays"]
        page.evaluate("window.stopAtText = true")
        say(page, web)
        expect(page.locator(".facts").last).to_contain_text("stopped", timeout=30_000)
        expect(page.get_by_role("button", name="Send")).to_be_visible()
        said = page.locator(".reply").last.text_content() or ""
        assert said and STORIES["web"].startswith(said) and said != STORIES["web"]


def test_errors_are_shown_and_nothing_from_outside_runs(live, page):
    page.goto(live.url)
    say(page, "hello")
    expect(page.locator(".error")).to_contain_text("Paste the API key")
    expect(page.locator("#key")).to_have_class("missing")
    page.get_by_label("API key").fill(live.api_key())
    page.keyboard.press("Tab")
    expect(page.locator("#model option")).to_have_count(3)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".error")).to_have_count(0)
    expect(page.locator(".facts")).to_have_count(1)
    say(page, HOSTILE)
    expect(page.locator(".user").last).to_have_text(HOSTILE)
    expect(page.locator(".facts")).to_have_count(2)
    page.get_by_label("at most").fill("100000")
    say(page, "too much")
    expect(page.locator(".error")).to_contain_text("context is")
    assert page.title() == "llm-assets · chat" and page.locator("img").count() == 0
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title=1'}))"
    )
    assert page.title() == "llm-assets · chat", "the policy lets the page's own script run, and no other"
    assert [text for text in page.wrong if "Content Security Policy" in text]
    page.wrong[:] = [text for text in page.wrong if "status of 4" not in text and "Content Security Policy" not in text]


def tile(page: Page, name: str) -> float:
    text = page.locator(".tile", has_text=name).locator("b").text_content() or ""
    return float(re.sub(r"[^0-9.]", "", text.split("+")[0]) or 0)


def test_live_shows_traffic(live, page, http):
    visit(page, live, "/live")
    expect(page.locator("canvas")).to_have_count(9)
    expect(page.locator(".tile b").first).to_have_text(re.compile(r"\d"))
    body = {"model": "llm-assets-route", "temperature": 0}
    for text, _ in tiny_package.ROWS * 2:  # the second time from the cache
        reply = http.post("/v1/chat/completions", json={**body, "messages": [{"role": "user", "content": text}]})
    http.post("/v1/feedback", json={"id": reply.json()["id"], "rating": "up"})
    throughput = page.get_by_role("img", name=re.compile(r"^Throughput: generated [1-9\.]"))
    throughput.wait_for()
    assert tile(page, "Tokens/s") > 0 and tile(page, "Requests/s") > 0 and tile(page, "First token") > 0
    page.get_by_role("img", name=re.compile(r"^Whole request: p50 [0-9.]+, p95 [0-9.]+, p99 [0-9.]+ ms")).wait_for()
    hits = page.get_by_role("img", name=re.compile(r"exact reply [0-9.]+")).get_attribute("aria-label") or ""
    assert 30 < float(re.findall(r"exact reply ([0-9.]+)", hits)[0]) <= 60, hits
    expect(page.locator(".tile", has_text="Thumbs").locator("b")).to_have_text(re.compile("^[1-9]"))
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Go on")).to_have_attribute("aria-pressed", "true")


def pairs_file(tmp_path, n: int):
    path = tmp_path / "pairs.jsonl"
    rows = [{"text": f"question {at}", "replies": [f"good {at}", f"bad {at} {HOSTILE}"]} for at in range(n)]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def judge(page: Page, key: str) -> str:
    """Press a key, and give the question it was an answer to, once the next one is there."""
    asked = page.locator("#asked").text_content() or ""
    with page.expect_response("**/v1/label/agreement"):
        page.keyboard.press(key)
    return asked


def test_labelling_with_keys_undo_and_export(live, page, tmp_path):
    visit(page, live, "/label")
    page.get_by_label("reviewer").fill("ada")
    page.keyboard.press("Enter")
    with page.expect_file_chooser() as chooser:
        page.locator("#add").click()
    chooser.value.set_files(pairs_file(tmp_path, 6))
    expect(page.locator("#said")).to_have_text("6 new pairs of 6 lines.")
    assert page.locator("img").count() == 0, "text of a file is text"
    asked = []
    for _ in range(3):  # the good one, wherever it is
        key = "1" if (page.locator("#left .text").text_content() or "").startswith("good") else "2"
        asked.append(judge(page, key))
    asked += [judge(page, "3"), judge(page, "4")]
    assert len(set(asked)) == 5
    expect(page.locator("#progress")).to_contain_text("5 by you, 1 left for you · 4 of 6 pairs decided")
    judge(page, "u")
    expect(page.locator("#asked")).to_have_text(asked[4])
    judge(page, "U")
    expect(page.locator("#asked")).to_have_text(asked[3])
    page.get_by_label("reviewer").press("2")  # typing a name is no vote
    page.get_by_label("reviewer").fill("ada")
    page.locator("#bar").click()
    judge(page, "3")
    votes = read_votes(live.home)
    assert [vote.choice for vote in votes if vote.choice in ("tie", "skip")] == ["tie"] and len(votes) == 4
    chosen = {read_pairs(live.home)[vote.pair].text: vote for vote in votes}
    for question in asked[:3]:
        vote = chosen[question]
        pair = read_pairs(live.home)[vote.pair]
        assert (pair.a if vote.choice == "a" else pair.b).startswith("good") and vote.shown in ("ab", "ba")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    rows = tiny_package.read_lines(download.value.path())
    assert {row["prompt"][0]["content"] for row in rows} == set(asked[:3])
    assert all(row["chosen"][0]["content"].startswith("good") for row in rows)

    page.get_by_label("reviewer").fill("grace")  # a second reviewer agrees on some
    page.keyboard.press("Enter")
    expect(page.locator("#progress")).to_contain_text("0 by you, 6 left")
    for _ in range(4):
        judge(page, "1" if (page.locator("#left .text").text_content() or "").startswith("good") else "2")
    expect(page.locator("#alpha")).to_have_text(re.compile(r"^-?[01]\.\d\d$"))
    expect(page.locator("#bias")).to_contain_text("95\u202f% interval")
    expect(page.locator("#people tbody tr")).to_have_count(2)


def test_pairs_from_traffic_and_an_answer_to_nothing(live, page, http):
    for text in ("one thing", "another thing", "a third thing"):
        asked = {"model": "llm-assets", "messages": [{"role": "user", "content": text}], "max_tokens": 8}
        http.post("/v1/chat/completions", json=asked)
    visit(page, live, "/label")
    page.get_by_label("reviewer").fill("lin")
    page.keyboard.press("Enter")
    with page.expect_response("**/v1/label/next*"):
        page.locator("#sample").click()
    expect(page.locator("#said")).to_have_text(re.compile(r"[1-9]\d* new pairs"))
    sampled = [pair for pair in read_pairs(live.home).values() if pair.origin == "traffic"]
    assert sampled and {pair.text for pair in sampled} <= set(read_traffic(live.home)["text"])
    assert any(pair.text.endswith("thing") for pair in sampled), "the latest come first"
    assert all(pair.a != pair.b and pair.digest == "good-digest" for pair in sampled)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/", "/live", "/label"])
def test_pages_fit_read_and_take_the_keyboard(live, browser, path, scheme):
    for width in (360, 1280):
        opened = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        visit(opened, live, path)
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.evaluate(CONTRAST) >= 4.5, "text against its ground (WCAG 2.2, 1.4.3)"
        assert opened.locator("nav a[aria-current=page]").count() == 1
        assert opened.evaluate(UNNAMED) == []
        opened.keyboard.press("Tab")
        assert opened.evaluate("document.activeElement !== document.body")
        opened.close()
