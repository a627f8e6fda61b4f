"""Takes the pictures of Dagster for the README: `.venv/bin/python docs/take_pictures.py` while `llm-assets up` runs.

Needs Chromium (`chromium` on PATH); it is driven headless.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

FOLDER = Path(__file__).resolve().parent / "pictures"
UI = "http://127.0.0.1:3000"


def main() -> None:
    chromium = shutil.which("chromium") or sys.exit("chromium is not on PATH")
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        take(page, f"{UI}/asset-groups", "graph", wait=6)
        take(page, f"{UI}/assets/finetuned_model?view=overview", "asset", wait=5)
        take(page, f"{UI}/assets/finetuned_model?view=checks", "checks", wait=5)
        take(page, f"{UI}/assets/finetuned_model?view=overview", "curve", wait=5, dialog="Training loss by step")
        take(page, f"{UI}/assets/cleaned_documents?view=overview", "samples", wait=5, dialog="samples")
        browser.close()


def take(page: Page, url: str, name: str, wait: float, dialog: str | None = None) -> None:
    """A picture of a page, or of the metadata value `dialog` that it shows on a click."""
    page.set_viewport_size({"width": 1500, "height": 1300 if name == "samples" else 900})
    page.goto(url, wait_until="load")
    page.wait_for_timeout(wait * 1000)
    if dialog:
        row = page.get_by_role("row").filter(has_text=dialog).or_(page.locator("tr", has_text=dialog))
        row.get_by_text("Show Markdown").first.click()
        page.wait_for_timeout(1500)
    page.screenshot(path=FOLDER / f"{name}.png")
    print(f"{name}.png: {page.title()}")


if __name__ == "__main__":
    main()
