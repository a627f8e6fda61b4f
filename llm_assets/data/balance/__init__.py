"""Balancing the train split: weights, repeated, left out or synthetic rows, by label or by topic."""

from llm_assets.data.balance.run import balance_documents as balance_documents
from llm_assets.data.balance.run import balance_table as balance_table
