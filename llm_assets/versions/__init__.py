"""What versions give to people: names, lineage, history, comparison, reproduction, rollback, erasure, collection.

Plain functions of a store and a state folder; `llm_assets.cli_versions` has a command for each.
"""
