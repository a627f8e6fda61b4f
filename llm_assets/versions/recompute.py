"""`python -m llm_assets.versions.recompute ASSET …`: compute these assets in the state folder and by the recipe of the
environment, without gates, and publish them there; what `reproduce` runs in a process and a folder of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def recompute(assets: Sequence[str]) -> int:
    """The exit code: 0 when all of them were made."""
    from llm_assets.environment import enter

    enter()
    import dagster as dg

    from llm_assets.definitions import defs
    from llm_assets.graph import NODES
    from llm_assets.progress import listening
    from llm_assets.publish import publish_run
    from llm_assets.recipe import home_folder
    from llm_assets.runs import problems_of
    from llm_assets.terminal import RunView
    from resources.workspace import open_store

    view = RunView(assets, {name: NODES[name].seconds for name in assets})
    with dg.DagsterInstance.ephemeral() as instance, view, listening(view):
        result = dg.materialize(
            [asset for asset in defs.assets or () if isinstance(asset, dg.AssetsDefinition)],
            selection=dg.AssetSelection.assets(*assets),
            resources=defs.resources,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            instance=instance,
            raise_on_error=False,
        )
        run = instance.get_run_by_id(result.run_id)
        if result.success and run is not None:
            publish_run(run, open_store(home_folder()))
    for problem in problems_of(result.all_events):
        print(problem, file=sys.stderr)
    return 0 if result.success else 1


if __name__ == "__main__":
    sys.exit(recompute(sys.argv[1:]))
