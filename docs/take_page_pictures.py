"""Takes the pictures of the endpoint's pages: `.venv/bin/python docs/take_page_pictures.py` while it is running.

It chats, votes and sends a minute of traffic as it goes. Needs Chromium (`chromium` on PATH); it is driven headless.
"""

from __future__ import annotations

import random
import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from llm_assets.recipe import current_recipe, home_folder
from resources.endpoint import endpoint_of

FOLDER = Path(__file__).resolve().parent / "pictures"
ASKED = ("join two tables on a key", "send an http request", "invert a matrix")
PEOPLE = 12  # who ask at once while the live page is looked at
SECONDS = 75
SYSTEM = (
    "You help people who write Python: say which package does what they ask for, and why, in a sentence or two. " * 2
)


def main() -> None:
    endpoint = endpoint_of(current_recipe(), home_folder())
    take_pages(endpoint.url, endpoint.api_key(), FOLDER, list(ASKED))


def take_pages(url: str, key: str, folder: Path, texts: list[str]) -> None:
    """chat.png, label.png and live.png of the endpoint at `url`; `texts` are what is asked."""
    chromium = shutil.which("chromium") or sys.exit("chromium is not on PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        chat(visit(browser, url, key, "/"), folder, texts[:3])
        label(visit(browser, url, key, "/label"), folder)
        live(visit(browser, url, key, "/live"), folder, url, key, texts)
        browser.close()


def visit(browser: Browser, url: str, key: str, path: str) -> Page:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.goto(f"{url}{path}#key={key}")
    page.locator("#state.up").wait_for()
    return page


def chat(page: Page, folder: Path, texts: list[str]) -> None:
    page.locator("#model option").first.wait_for(state="attached")
    for number, text in enumerate(texts, start=1):
        page.get_by_label("Message").fill(text)
        page.keyboard.press("Enter")
        page.locator(".facts").nth(number - 1).wait_for()
    page.locator(".turn").first.get_by_role("button", name="Right").click()
    page.locator(".turn").first.get_by_text("Thank you.").wait_for()
    page.screenshot(path=folder / "chat.png")


def label(page: Page, folder: Path) -> None:
    """Two reviewers, who agree more often than not, and a third who begins."""
    chooser = random.Random(1)
    page.locator("#sample").click()
    page.get_by_text("new pairs").or_(page.get_by_text("no chat")).wait_for()
    for name, votes in (("ada", 20), ("grace", 18), ("lin", 3)):
        page.get_by_label("reviewer").fill(name)
        page.get_by_label("reviewer").press("Enter")
        page.wait_for_timeout(500)
        for _ in range(votes):
            if page.locator("#compare").is_hidden():
                break
            sizes = [len(page.locator(f"#{side} .text").text_content() or "") for side in ("left", "right")]
            longer = "1" if sizes[0] > sizes[1] else "2"
            with page.expect_response("**/v1/label/agreement"):
                page.keyboard.press(chooser.choices([longer, "3", "1", "2"], [8, 1, 1, 1])[0])
    page.wait_for_timeout(500)
    page.screenshot(path=folder / "label.png")


def live(page: Page, folder: Path, url: str, key: str, texts: list[str]) -> None:
    chooser, done = random.Random(2), threading.Event()

    def person(number: int) -> None:
        with httpx.Client(
            base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=60, trust_env=False
        ) as http:
            while not done.wait(chooser.expovariate(4 if number < PEOPLE / 2 else 0.5)):
                task = chooser.random() < 0.5
                asked = [{"role": "user", "content": chooser.choice(texts)}]
                body = {
                    "model": "llm-assets-route" if task else "llm-assets",
                    "messages": asked if task else [{"role": "system", "content": SYSTEM}, *asked],
                    "temperature": 0 if task else 1,
                    "max_tokens": 8 if task else 100,
                }
                reply = http.post("/v1/chat/completions", json=body)
                if reply.is_success and chooser.random() < 0.15:
                    rating = chooser.choices(["up", "down"], [4, 1])[0]
                    http.post("/v1/feedback", json={"id": reply.json()["id"], "rating": rating})

    with ThreadPoolExecutor(PEOPLE) as people:
        asking = [people.submit(person, number) for number in range(PEOPLE)]
        page.wait_for_timeout(SECONDS * 1000)
        page.screenshot(path=folder / "live.png")
        done.set()
    for one in asking:
        one.result()


if __name__ == "__main__":
    main()
