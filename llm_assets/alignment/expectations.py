"""The gates of preference pairs, reward model and aligned model."""

from llm_assets.quality import Expect, Suite, previous_metric, recipe_value

SUITES = [
    Suite(
        "preference_pairs",
        frame="pairs.parquet",
        expectations=[
            Expect("pairs_exist", "ExpectTableRowCountToBeBetween", min_value=20),
            Expect("ids_are_unique", "ExpectColumnValuesToBeUnique", column="id"),
            Expect("prompts_are_present", "ExpectColumnValueLengthsToBeBetween", column="prompt", min_value=1),
            Expect("chosen_is_present", "ExpectColumnValueLengthsToBeBetween", column="chosen", min_value=1),
            Expect(
                "chosen_differs_from_rejected",
                "ExpectSelectColumnValuesToBeUniqueWithinRecord",
                column_list=["chosen", "rejected"],
            ),
            Expect(
                "splits_are_known",
                "ExpectColumnValuesToBeInSet",
                column="split",
                value_set=["train", "validation"],
            ),
            Expect(
                "both_splits_are_there",
                "ExpectColumnDistinctValuesToContainSet",
                column="split",
                value_set=["train", "validation"],
            ),
            Expect(
                "origins_are_known",
                "ExpectColumnValuesToBeInSet",
                column="origin",
                value_set=["bootstrap", "feedback"],
            ),
        ],
    ),
    Suite(
        "reward_model",
        frame="metrics",
        expectations=[
            Expect(
                "pair_accuracy_floor",
                "ExpectColumnMinToBeBetween",
                column="pair_accuracy",
                min_value=recipe_value("alignment.gates.min_pair_accuracy"),
            ),
            Expect("margin_is_positive", "ExpectColumnMinToBeBetween", column="mean_margin", min_value=0.0),
            Expect(
                "no_regression",
                "ExpectColumnMinToBeBetween",
                column="pair_accuracy",
                min_value=previous_metric("pair_accuracy", minus=0.1),
            ),
            Expect(
                "length_bias_is_small",
                "ExpectColumnMaxToBeBetween",
                severity="warning",
                column="length_bias_size",
                max_value=recipe_value("alignment.gates.max_length_bias"),
            ),
        ],
    ),
    Suite(
        "aligned_model",
        frame="metrics",
        expectations=[
            Expect(
                "kl_ceiling",
                "ExpectColumnMaxToBeBetween",
                column="kl_to_reference",
                max_value=recipe_value("alignment.gates.max_kl"),
            ),
            Expect("kl_is_a_kl", "ExpectColumnMinToBeBetween", column="kl_to_reference", min_value=-1e-6),
            Expect(
                "accuracy_kept",
                "ExpectColumnMaxToBeBetween",
                column="accuracy_drop",
                max_value=recipe_value("alignment.gates.max_accuracy_drop"),
            ),
            Expect(
                "win_rate_floor",
                "ExpectColumnMinToBeBetween",
                column="win_rate",
                min_value=recipe_value("alignment.gates.min_win_rate"),
            ),
            Expect(
                "no_regression",
                "ExpectColumnMinToBeBetween",
                column="accuracy",
                min_value=previous_metric("accuracy", minus=0.05),
            ),
        ],
    ),
]
