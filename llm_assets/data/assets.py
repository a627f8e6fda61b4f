"""Dagster nodes of the data stage."""

from __future__ import annotations

from pathlib import Path

from llm_assets.artifacts import Summary
from llm_assets.materialize import Job, artifact_asset
from llm_assets.recipe import Recipe


def _sources_state(recipe: Recipe, home: Path) -> str:
    from llm_assets.data.acquire import sources_state

    return sources_state(recipe.data, home)


@artifact_asset(
    group="data",
    config=("data.sources",),
    kinds={"python", "parquet"},
    code_version="1",
    seconds=15,
    external_state=_sources_state,
)
def raw_documents(job: Job) -> Summary:
    """Text from every source of the recipe, one row per document, with provenance.

    Documentation of installed packages (parsed, never imported), one's own files, people's corrections. Look at the
    documents per label: that is the imbalance the rest of the graph has to live with.
    """
    from llm_assets.data.acquire import acquire_documents

    return acquire_documents(job.recipe.data.sources, job.home, job.out, job.progress)


def _clean_state(recipe: Recipe, home: Path) -> str:
    from llm_assets.data.clean import clean_state

    return clean_state(recipe.data.clean)


@artifact_asset(
    group="data",
    inputs=("raw_documents",),
    config=("data.clean", "seed"),
    kinds={"python", "parquet"},
    code_version="1",
    seconds=20,
    external_state=_clean_state,
)
def cleaned_documents(job: Job) -> Summary:
    """Repaired, filtered, deduplicated and split documents, and `rejected.parquet` with a reason for each that went.

    Markup and unicode repair, length and language rules, exact and near duplicates over everything (so none lies
    across two splits), the label's own name masked. Kept and rejected rows together are the raw ones, always.
    """
    from llm_assets.data.clean import clean_documents

    return clean_documents(
        job.inputs["raw_documents"], job.out, job.recipe.data.clean, seed=job.recipe.seed, progress=job.progress
    )


@artifact_asset(
    group="data",
    inputs=("cleaned_documents",),
    config=("data.augment", "seed"),
    kinds={"python", "parquet"},
    code_version="1",
    seconds=3,
)
def augmented_documents(job: Job) -> Summary:
    """The train split plus augmented rows, each with its parent.

    Easy data augmentation: words replaced by synonyms, inserted, swapped, deleted. The samples show one of each.
    """
    from llm_assets.data.augment import augment_documents

    return augment_documents(
        job.inputs["cleaned_documents"], job.out, job.recipe.data.augment, seed=job.recipe.seed, progress=job.progress
    )


@artifact_asset(
    group="data",
    inputs=("augmented_documents",),
    config=("data.balance", "seed"),
    kinds={"python", "parquet"},
    code_version="1",
    seconds=1,
)
def balanced_documents(job: Job) -> Summary:
    """The train split with rare labels given more say: by weights that reach the loss, or by repeated rows.

    Compare the two pictures: rows per label as found, and the weight of each label that training sees.
    """
    from llm_assets.data.balance import balance_documents

    return balance_documents(
        job.inputs["augmented_documents"], job.out, job.recipe.data.balance, seed=job.recipe.seed, progress=job.progress
    )


@artifact_asset(
    group="data",
    inputs=("raw_documents", "cleaned_documents", "augmented_documents", "balanced_documents"),
    config=(),
    kinds={"python"},
    code_version="1",
    seconds=3,
)
def data_profile(job: Job) -> Summary:
    """What is in each column, before and after each step: valid, mismatched and missing values over a histogram.

    `report.html` in the version's folder is the same as a page; `report.json` is for programs.
    """
    from llm_assets.data.profile import profile_documents

    return profile_documents(job.inputs, job.out, job.progress)
