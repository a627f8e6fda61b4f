"""Augmenting the train split: edits of words, back translation, paraphrase, mixed texts, and what filters them."""

from llm_assets.data.augment.run import augment_documents as augment_documents
from llm_assets.data.augment.run import augment_table as augment_table
