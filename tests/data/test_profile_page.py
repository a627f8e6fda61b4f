"""The profile's page in a browser, and the command."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from browser import CONTRAST
from typer.testing import CliRunner

from llm_assets.cli import app
from llm_assets.data.profile_page import table_page
from llm_assets.data.profile_suggest import suggestions
from llm_assets.data.profile_table import profile_table
from llm_assets.terminal import console

HOSTILE = [
    "<script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "\"><style>*{display:none}</style>",
    "' onmouseover='document.title=1",
    "<svg/onload=document.title='owned'>",
    "`</code><b>`",
    "</pre></details><h1>gone</h1>",
    "\u202eleft\x00\x1b[31m",
]  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page whose every text is hostile: column names, labels, values, examples."""
    rows = 200
    table = pa.table(
        {
            HOSTILE[0]: [HOSTILE[n % len(HOSTILE)] for n in range(rows)],
            HOSTILE[1]: [f"{HOSTILE[n % len(HOSTILE)]} is the text of row {n}" + "x" * (n % 90) for n in range(rows)],
            HOSTILE[2]: [str(n) if n % 9 else HOSTILE[n % len(HOSTILE)] for n in range(rows)],
            "wide" * 30: ["w" * 190 + str(n) for n in range(rows)],
            "when": [f"20{n % 24:02d}-01-02" for n in range(rows)],
        }
    )
    report = {**profile_table(table.to_batches()), "unread": {HOSTILE[0]: 3}}
    report["suggestions"] = suggestions(report, source={"paths": [f"/data/{HOSTILE[3]}.csv"]})
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(table_page(report, HOSTILE[0]), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_is_inert_and_fits(page: Path, width: int, scheme: str) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no `chromium` on PATH: install it to look at the page in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        opened = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
        requests: list[str] = []
        opened.on("request", lambda request: requests.append(request.url))
        opened.goto(page.as_uri())
        assert requests == [page.as_uri()]
        assert opened.title() == f"Profile of {HOSTILE[0]}"
        assert opened.locator("script, img, svg, link, iframe").count() == 0
        assert opened.locator("h1").count() == 1 and opened.locator("article h3").first.is_visible()
        opened.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.locator(".quality[role=img]").count() == 6
        assert "mismatched" in (opened.locator(".quality").last.get_attribute("aria-label") or "")
        # Text against its ground, 4.5 : 1 at least (WCAG 2.2, 1.4.3), for every colour that text has.
        assert opened.evaluate(CONTRAST) >= 4.5
        browser.close()


def test_the_command_shows_and_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "width", 160)
    table = tmp_path / "t.csv"
    rows = [
        f"{n},please tell me where order {n} of mine is today,{'late' if n % 9 else '[bold]lost'}" for n in range(300)
    ]
    table.write_text("\n".join(["id,message,team", *rows, "301,,late", "x,y"]) + "\n")
    done = CliRunner().invoke(app, ["profile", str(table), "-o", str(tmp_path / "page.html")])
    assert done.exit_code == 0, done.output
    assert "301 rows, 3 columns, 0 duplicate rows" in done.output
    assert "1 lines not read: 2 fields where 3 are expected" in done.output
    assert "text_column: message" in done.output and "label_column: team" in done.output
    assert "[bold]lost" in done.output
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "t.csv"]
