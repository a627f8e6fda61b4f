"""One resolver of names, used by every command."""

from __future__ import annotations

import pytest

from llm_assets.errors import UserError
from llm_assets.versions.names import resolve, resolve_one
from resources.store import MAIN


def test_a_version_is_named_in_many_ways(small):
    store, home = small.store, small.home
    main, first = store.heads(MAIN)["cleaned_documents"], store.heads("v1")["cleaned_documents"]
    assert main.data_version != first.data_version
    asked = lambda name: resolve_one(store, home, name)[1].data_version  # noqa: E731
    assert asked("cleaned_documents") == asked("cleaned_documents@main") == main.data_version
    assert asked("cleaned_documents@v1") == first.data_version
    assert asked(f"cleaned_documents@{first.data_version[:9]}") == first.data_version
    assert asked(first.data_version) == first.data_version
    run = store.releases()[-1].branch
    assert asked(f"cleaned_documents@{run}") == first.data_version
    assert asked(f"cleaned_documents@{run[:10]}") == first.data_version


def test_a_state_is_named_by_release_run_or_commit(small):
    store, home = small.store, small.home
    first = store.releases()[-1]
    for name in ("v1", first.branch, first.branch.removeprefix("run/")[:8], first.commit[:10]):
        named = resolve(store, home, name)
        assert named.version is None
        assert {v.data_version for v in named.heads.values()} == {v.data_version for v in store.heads("v1").values()}
    with pytest.raises(UserError, match="augmented_documents@v1"):
        resolve_one(store, home, "v1")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cleand_documents", "cleaned_documents"),
        ("v9", "v3, v2, v1"),
        ("cleaned_documents@v9", r"\(v3\)"),
        ("cleaned_documents@00000000", "Versions, newest first"),
        ("run/zzzzzz", "Runs: run/"),
        ("tokenizer", "main has no version of tokenizer.*none yet"),
        ("chatcmpl-none", "not in the traffic log"),
    ],
)
def test_a_wrong_name_is_answered_with_what_is_near(small, name, expected):
    import llm_assets.definitions  # noqa: F401  (declares the nodes)

    with pytest.raises(UserError, match=expected):
        resolve(small.store, small.home, name)
