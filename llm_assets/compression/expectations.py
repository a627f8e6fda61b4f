"""The gates of pruned, distilled and quantized model."""

from llm_assets.quality import Expect, Suite, previous_metric, recipe_value


def _smaller(asset: str, gate: str) -> Suite:
    return Suite(
        asset,
        frame="metrics",
        expectations=[
            Expect(
                "accuracy_kept",
                "ExpectColumnMaxToBeBetween",
                column="accuracy_drop",
                max_value=recipe_value(f"compression.gates.{gate}"),
            ),
            Expect(
                "it_is_smaller",
                "ExpectColumnMinToBeBetween",
                column="size_ratio",
                min_value=1.0,
                strict_min=True,
            ),
            Expect(
                "parameters_shrank",
                "ExpectColumnPairValuesAToBeGreaterThanB",
                column_A="parameters_before",
                column_B="parameters",
            ),
            Expect(
                "no_regression",
                "ExpectColumnMinToBeBetween",
                column="accuracy",
                min_value=previous_metric("accuracy", minus=0.06),
            ),
        ],
    )


SUITES = [
    _smaller("pruned_model", "max_pruned_drop"),
    _smaller("distilled_model", "max_distilled_drop"),
    Suite(
        "quantized_model",
        frame="metrics",
        expectations=[
            Expect(
                "size_ratio_floor",
                "ExpectColumnMinToBeBetween",
                column="size_ratio",
                min_value=recipe_value("compression.gates.min_size_ratio"),
            ),
            Expect(
                "accuracy_kept",
                "ExpectColumnMaxToBeBetween",
                column="accuracy_drop",
                max_value=recipe_value("compression.gates.max_int8_drop"),
            ),
            Expect(
                "decisions_kept",
                "ExpectColumnMinToBeBetween",
                column="agreement",
                min_value=recipe_value("compression.gates.min_agreement"),
            ),
            Expect(
                "every_label_kept",
                "ExpectColumnMinToBeBetween",
                severity="warning",
                column="lowest_label_agreement",
                min_value=0.8,
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
