"""Dagster nodes of the data stage."""

from __future__ import annotations

from pathlib import Path

from llm_assets.artifacts import Summary
from llm_assets.materialize import Job, artifact_asset
from llm_assets.recipe import Recipe


def _sources_state(recipe: Recipe, home: Path) -> str:
    from llm_assets.data.erasure import erased_state
    from llm_assets.data.sources.state import sources_state

    return sources_state(recipe.data.sources, home) + erased_state(home)


def _augment_state(recipe: Recipe, home: Path) -> str:
    from llm_assets.data.augment.run import augment_state

    return augment_state(recipe.data.augment)


@artifact_asset(
    group="data",
    config=("data.sources",),
    kinds={"python", "parquet"},
    code_version="3",
    seconds=15,
    external_state=_sources_state,
)
def raw_documents(job: Job) -> Summary:
    """Text from every source of the recipe, one row per document, with provenance.

    Documentation of installed packages (parsed, never imported), one's own files, Hugging Face datasets, web pages,
    databases, people's corrections. Look at the documents per label: that is the imbalance the rest of the graph has
    to live with. `rejected.parquet` holds what could not be read, with the reason.
    """
    from llm_assets.data.acquire import acquire_documents

    return acquire_documents(job.recipe.data.sources, job.home, job.out, job.progress)


def _clean_state(recipe: Recipe, home: Path) -> str:
    """The texts to decontaminate against and an OpenRefine history are no assets, but the result depends on them."""
    from llm_assets.data.clean import clean_state
    from llm_assets.data.sources.state import sources_state

    config = recipe.data.clean
    against = config.decontaminate.against if config.decontaminate.enabled else []
    return clean_state(config) + sources_state(against, home)


@artifact_asset(
    group="data",
    inputs=("raw_documents",),
    config=("data.clean", "seed"),
    kinds={"python", "parquet"},
    code_version="4",
    seconds=20,
    external_state=_clean_state,
)
def cleaned_documents(job: Job) -> Summary:
    """Repaired, filtered, deduplicated and split documents, and `rejected.parquet` with a reason for each that went.

    The steps of `data.clean`, in turn: an OpenRefine history, repair, rules of one's own, markup, white space, masks,
    spelling, personal data, length, language, quality; then, over all documents, spellings of labels, duplicates (so
    none lies across two splits), label errors and contamination. Kept and rejected rows together are the raw
    ones, always. Look at the seconds and rejects by step.
    """
    from llm_assets.data.acquire import read_sources
    from llm_assets.data.clean import clean_documents

    config = job.recipe.data.clean
    against = config.decontaminate.against if config.decontaminate.enabled else []
    return clean_documents(
        job.inputs["raw_documents"],
        job.out,
        config,
        seed=job.recipe.seed,
        progress=job.progress,
        evaluation=read_sources(against, job.home) if against else None,
    )


@artifact_asset(
    group="data",
    inputs=("cleaned_documents",),
    config=("data.augment", "seed"),
    kinds={"python", "parquet"},
    code_version="3",
    seconds=5,
    external_state=_augment_state,
)
def augmented_documents(job: Job) -> Summary:
    """The train split plus augmented rows, each with its parents.

    Words replaced by synonyms, inserted, swapped, deleted; back translation, paraphrase, texts of two labels. Rows that
    copied their parent or changed their label are dropped again, into `rejected.parquet`. The samples show one of each
    operation and of each reason.
    """
    from llm_assets.data.augment import augment_documents

    return augment_documents(
        job.inputs["cleaned_documents"],
        job.out,
        job.recipe.data.augment,
        seed=job.recipe.seed,
        progress=job.progress,
        cache=job.home / "cache" / "texts.sqlite",
    )


@artifact_asset(
    group="data",
    inputs=("augmented_documents",),
    config=("data.balance", "seed"),
    kinds={"python", "parquet"},
    code_version="4",
    seconds=1,
)
def balanced_documents(job: Job) -> Summary:
    """The train split with rare labels (or topics) given more say: by weights that reach the loss, or by other rows.

    Weights, repeated, left out (`rejected.parquet`) or synthetic rows. Compare the pictures: rows per label as found,
    after balancing, and the weight of each label that training sees.
    """
    from llm_assets.data.balance import balance_documents

    return balance_documents(
        job.inputs["augmented_documents"], job.out, job.recipe.data.balance, seed=job.recipe.seed, progress=job.progress
    )


@artifact_asset(
    group="data",
    inputs=("raw_documents", "cleaned_documents", "augmented_documents", "balanced_documents"),
    config=("data.clean", "data.augment", "data.balance", "data.card"),
    kinds={"python"},
    code_version="3",
    seconds=5,
)
def data_profile(job: Job) -> Summary:
    """What is in each column, before and after each step: valid, mismatched and missing values over a histogram.

    Patterns of values, near-equal labels and settings suggested for the recipe stand below. `report.html` in the
    version's folder is all of it as a page, `data_card.md` the data card, `report.json` is for programs.
    """
    from llm_assets.data.profile import profile_documents

    return profile_documents(job.inputs, job.out, job.progress, job.recipe.data, job.recipe.name)
