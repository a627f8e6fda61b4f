"""Champion and challenger: the better one is served, by a real process."""

from __future__ import annotations

from pathlib import Path

import pytest

from llm_assets import huge_pages
from llm_assets.artifacts import read_json
from llm_assets.errors import UserError
from llm_assets.serving.config import PromotionConfig
from llm_assets.serving.deploy import deploy_candidate
from llm_assets.serving.promotion import test_rows as rows_to_judge


def deploy(endpoint, packages, documents, name, out, **promotion):
    out.mkdir(parents=True)
    return deploy_candidate(
        endpoint,
        candidate=packages[name],
        digest=f"{name}-digest",
        documents=documents,
        out=out,
        promotion=PromotionConfig(**promotion),
        threads=1,
    )


def test_only_a_better_model_is_deployed(endpoint, packages, documents, tmp_path):
    first = deploy(endpoint, packages, documents, "worse", tmp_path / "1")
    assert first.metrics["decision"] == "deploy" and first.metrics["accuracy"] == pytest.approx(8 / 12)
    assert endpoint.health()["digest"] == "worse-digest"

    same = deploy(endpoint, packages, documents, "worse", tmp_path / "2")
    assert same.metrics["decision"] == "keep" and same.metrics["digest"] == "worse-digest"

    better = deploy(endpoint, packages, documents, "good", tmp_path / "3")
    assert better.metrics["decision"] == "deploy" and better.metrics["gain"] == pytest.approx(4 / 12)
    assert endpoint.health()["digest"] == "good-digest" and endpoint.ask("follow a redirect") == "web"

    refused = deploy(endpoint, packages, documents, "worse", tmp_path / "4")
    assert refused.metrics["decision"] == "keep" and "below the champion" in refused.metrics["reason"]
    assert endpoint.current()["digest"] == endpoint.health()["digest"] == "good-digest"
    assert read_json(tmp_path / "4" / "deployment.json") == {
        "digest": "good-digest", "candidate": "worse-digest", "decision": "keep", "accuracy": 8 / 12,
        "champion_accuracy": 1.0, "rows": 12, "tolerance": 0.0,
    }  # fmt: skip

    endpoint.stop()
    tolerant = deploy(endpoint, packages, documents, "worse", tmp_path / "5", tolerance=0.5)
    assert tolerant.metrics["decision"] == "deploy" and endpoint.health()["digest"] == "worse-digest"


def test_a_candidate_the_server_cannot_load_is_an_error(endpoint, packages, documents, tmp_path):
    with pytest.raises(UserError, match="cannot be loaded"):
        deploy(endpoint, packages, documents, "broken", tmp_path / "1")
    assert endpoint.current() is None


def test_a_server_that_refuses_the_candidate_keeps_the_champion(endpoint, packages, documents, tmp_path):
    """Judging reads one task's template; the server checks all of them."""
    import shutil

    from llm_assets.artifacts import write_json

    odd = tmp_path / "odd"
    shutil.copytree(packages["good"], odd)
    package = read_json(odd / "package.json")
    package["tasks"]["summarise"] = {"surprise": 1}
    write_json(package, odd / "package.json")
    deploy(endpoint, packages, documents, "good", tmp_path / "1")
    with pytest.raises(UserError, match="did not take package odd-digest"):
        deploy(endpoint, {"odd": odd}, documents, "odd", tmp_path / "2")
    assert endpoint.current()["digest"] == endpoint.health()["digest"] == "good-digest"
    assert endpoint.ask("follow a redirect") == "web"


def test_both_are_judged_on_the_same_rows_with_feedback_first(documents):
    rows = rows_to_judge(documents, 4)
    assert rows == rows_to_judge(documents, 4) and len(rows) == 4
    assert rows[0][0] == "multiply two matrices", "people's feedback comes first"


@pytest.mark.skipif(not huge_pages.available(), reason="a Linux that gives huge pages to who asks")
def test_the_server_asks_for_huge_pages(endpoint):
    endpoint.start()
    environment = Path(f"/proc/{endpoint.status()['pid']}/environ").read_bytes().split(b"\0")
    assert any(entry.startswith(b"GLIBC_TUNABLES=") and b"hugetlb=1" in entry for entry in environment)
