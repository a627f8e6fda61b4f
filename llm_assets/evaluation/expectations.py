"""The gates of evaluation report and release candidate."""

from llm_assets.quality import Expect, Suite, previous_metric, recipe_value

SUITES = [
    Suite(
        "evaluation_report",
        frame="metrics",
        expectations=[
            Expect("enough_test_rows", "ExpectColumnMinToBeBetween", column="test_rows", min_value=20),
            Expect(
                "accuracy_floor",
                "ExpectColumnMinToBeBetween",
                column="accuracy",
                min_value=recipe_value("evaluation.gates.min_accuracy"),
            ),
            Expect(
                "int8_keeps_accuracy",
                "ExpectColumnMaxToBeBetween",
                column="int8_drop",
                max_value=recipe_value("evaluation.gates.max_int8_drop"),
            ),
            Expect(
                "int8_is_small",
                "ExpectColumnMinToBeBetween",
                column="int8_size_ratio",
                min_value=recipe_value("compression.gates.min_size_ratio"),
            ),
            Expect(
                "no_regression",
                "ExpectColumnMinToBeBetween",
                column="accuracy",
                min_value=previous_metric("accuracy", minus=0.05),
            ),
            Expect(
                "as_good_as_the_baseline",
                "ExpectColumnPairValuesAToBeGreaterThanB",
                severity="warning",
                column_A="accuracy",
                column_B="baseline_accuracy",
                or_equal=True,
            ),
        ],
    ),
    Suite(
        "release_candidate",
        frame="metrics",
        expectations=[
            Expect(
                "export_kept_accuracy",
                "ExpectColumnMaxToBeBetween",
                column="export_drop",
                max_value=recipe_value("evaluation.release.verify_tolerance"),
            ),
            Expect("probes_are_there", "ExpectColumnMinToBeBetween", column="canaries", min_value=5),
            Expect("labels_are_there", "ExpectColumnMinToBeBetween", column="labels", min_value=2),
            Expect(
                "no_regression",
                "ExpectColumnMinToBeBetween",
                column="accuracy",
                min_value=previous_metric("accuracy", minus=0.05),
            ),
            Expect(
                "package_did_not_grow",
                "ExpectColumnMaxToBeBetween",
                severity="warning",
                column="bytes",
                max_value=previous_metric("bytes", plus=2_000_000),
            ),
        ],
    ),
]
