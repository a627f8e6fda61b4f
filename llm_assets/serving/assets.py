"""Dagster nodes of the deployment stage."""

from __future__ import annotations

from pathlib import Path

from llm_assets.artifacts import Summary
from llm_assets.materialize import Job, artifact_asset
from llm_assets.recipe import Recipe


def serving_now(recipe: Recipe, home: Path) -> str:
    """What is being served is state outside the graph: the digest in the endpoint's pointer."""
    from resources.endpoint import endpoint_of

    current = endpoint_of(recipe, home).current()
    return current["digest"] if current else "nothing"


@artifact_asset(
    group="deployment",
    inputs=("release_candidate", "cleaned_documents"),
    config=("serving.promotion", "seed"),
    kinds={"onnx", "fastapi"},
    code_version="1",
    seconds=8,
    external_state=serving_now,
    changes_state=True,
)
def deployed_endpoint(job: Job) -> Summary:
    """The champion: the model that the endpoint serves.

    The release candidate (challenger) and the package being served (champion) label the same test rows,
    among them those from people's feedback. The challenger is deployed when its accuracy is at least the
    champion's, less `serving.promotion.tolerance`; else the champion stays. To deploy is to copy the
    package beside the others, start the server if it is not running, and swap its pointer: requests in
    flight end on the old model, none fails. Look at `decision`, `accuracy` and `champion_accuracy`.
    """
    from llm_assets.serving.deploy import deploy_candidate
    from resources.endpoint import endpoint_of

    return deploy_candidate(
        endpoint_of(job.recipe, job.home),
        candidate=job.inputs["release_candidate"],
        digest=job.versions["release_candidate"].data_version,
        documents=job.inputs["cleaned_documents"],
        out=job.out,
        promotion=job.recipe.serving.promotion,
        threads=job.recipe.threads,
        progress=job.progress,
    )
