"""What has to hold of the data before anything is made from it."""

from __future__ import annotations

from llm_assets.artifacts import DOCUMENTS, SPLITS
from llm_assets.quality import METRICS, Expect, Suite, previous_metric, recipe_value

SUITES = [
    Suite(
        "raw_documents",
        DOCUMENTS,
        [
            Expect("raw_ids_are_unique", "ExpectColumnValuesToBeUnique", column="id"),
            Expect("raw_texts_are_there", "ExpectColumnValuesToNotBeNull", column="text", mostly=0.95),
            Expect("raw_rows_name_their_origin", "ExpectColumnValuesToMatchRegex", column="uri", regex=r"^\w+:"),
            Expect("raw_rows_name_their_licence", "ExpectColumnValuesToNotBeNull", column="licence"),
            Expect(
                "raw_texts_have_content_hashes", "ExpectColumnValuesToMatchRegex", column="content_hash",
                regex=r"^[0-9a-f]{16}$",
            ),
            Expect("raw_rows_are_enough", "ExpectTableRowCountToBeBetween", min_value=100),
        ],
    ),
    Suite(
        "raw_documents",
        METRICS,
        [
            Expect("nothing_found_is_lost", "ExpectColumnValuesToBeInSet", column="lost_rows", value_set=[0]),
            Expect(
                "raw_rejects_are_as_before", "ExpectColumnMaxToBeBetween", column="rejected_share",
                max_value=previous_metric("rejected_share", plus=0.02), severity="warning",
            ),
        ],
    ),
    Suite(
        "cleaned_documents",
        DOCUMENTS,
        [
            Expect("clean_ids_are_unique", "ExpectColumnValuesToBeUnique", column="id"),
            Expect("no_text_is_in_two_splits", "ExpectColumnValuesToBeUnique", column="content_hash"),
            Expect("clean_texts_are_there", "ExpectColumnValuesToNotBeNull", column="text"),
            Expect(
                "clean_texts_are_of_allowed_length", "ExpectColumnValueLengthsToBeBetween", column="text",
                min_value=recipe_value("data.clean.min_chars"), max_value=recipe_value("data.clean.max_chars"),
            ),
            Expect("clean_splits_are_known", "ExpectColumnValuesToBeInSet", column="split", value_set=list(SPLITS)),
            Expect(
                "all_splits_have_rows", "ExpectColumnDistinctValuesToContainSet", column="split",
                value_set=["train", "validation", "test"],
            ),
            Expect("labels_are_at_least_two", "ExpectColumnUniqueValueCountToBeBetween", column="label", min_value=2),
            Expect(
                "no_markup_is_left", "ExpectColumnValuesToNotMatchRegex", column="text",
                regex=r"(?m)^>>> |:class:`|\.\. code-block::", mostly=0.99, severity="warning",
            ),
        ],
    ),
    Suite(
        "cleaned_documents",
        METRICS,
        [
            Expect("no_row_is_lost", "ExpectColumnValuesToBeInSet", column="lost_rows", value_set=[0]),
            Expect("splits_do_not_overlap", "ExpectColumnValuesToBeInSet", column="split_overlap", value_set=[0]),
            Expect("most_documents_stay", "ExpectColumnMaxToBeBetween", column="rejected_share", max_value=0.6),
            Expect(
                "rejects_are_as_before", "ExpectColumnMaxToBeBetween", column="rejected_share",
                max_value=previous_metric("rejected_share", plus=0.1), severity="warning",
            ),
        ],
    ),
    Suite(
        "augmented_documents",
        METRICS,
        [
            Expect("held_out_texts_stay_out", "ExpectColumnValuesToBeInSet", column="held_out_texts", value_set=[0]),
            Expect("made_rows_have_parents", "ExpectColumnValuesToBeInSet", column="orphans", value_set=[0]),
            Expect("no_made_row_is_lost", "ExpectColumnValuesToBeInSet", column="lost_rows", value_set=[0]),
        ],
    ),
    Suite(
        "augmented_documents",
        DOCUMENTS,
        [
            Expect("augmented_ids_are_unique", "ExpectColumnValuesToBeUnique", column="id"),
            Expect("only_train_is_augmented", "ExpectColumnValuesToBeInSet", column="split", value_set=["train"]),
            Expect("augmented_texts_are_there", "ExpectColumnValueLengthsToBeBetween", column="text", min_value=1),
            Expect("augmented_weights_are_there", "ExpectColumnValuesToNotBeNull", column="weight"),
        ],
    ),
    Suite(
        "balanced_documents",
        METRICS,
        [
            Expect("no_balanced_row_is_lost", "ExpectColumnValuesToBeInSet", column="lost_rows", value_set=[0]),
        ],
    ),
    Suite(
        "balanced_documents",
        DOCUMENTS,
        [
            Expect("balanced_ids_are_unique", "ExpectColumnValuesToBeUnique", column="id"),
            Expect("only_train_is_balanced", "ExpectColumnValuesToBeInSet", column="split", value_set=["train"]),
            Expect(
                "weights_average_one", "ExpectColumnMeanToBeBetween", column="weight",
                min_value=0.999, max_value=1.001,
            ),
            Expect(
                "weights_are_positive", "ExpectColumnValuesToBeBetween", column="weight",
                min_value=0, strict_min=True,
            ),
            Expect(
                "no_weight_dominates", "ExpectColumnMaxToBeBetween", column="weight",
                max_value=50, severity="warning",
            ),
        ],
    ),
    Suite(
        "data_profile",
        "metrics",
        [
            Expect(
                "profile_found_no_mismatch", "ExpectColumnMaxToBeBetween", column="mismatched_share",
                max_value=0.001,
            ),
            Expect(
                "profile_saw_every_table", "ExpectColumnValuesToBeInSet", column="tables", value_set=[4]
            ),
            Expect(
                "every_row_tells_its_steps", "ExpectColumnValuesToBeInSet", column="broken_steps", value_set=[0],
                severity="warning",
            ),
            Expect(
                "labels_are_not_fewer", "ExpectColumnMinToBeBetween", column="labels",
                min_value=previous_metric("labels"), severity="warning",
            ),
        ],
    ),
]  # fmt: skip
