"""Gates of training."""

from __future__ import annotations

from llm_assets.quality import Expect, Suite, previous_metric, recipe_value

MIN, MAX = "ExpectColumnMinToBeBetween", "ExpectColumnMaxToBeBetween"

SUITES = [
    Suite(
        "finetuned_model",
        "metrics",
        [
            Expect("loss_is_finite", MIN, column="loss_is_finite", min_value=1),
            Expect("validation_loss_fell", MIN, column="loss_below_start", min_value=0.0, strict_min=True),
            Expect("accuracy_floor", MIN, column="accuracy", min_value=recipe_value("training.gates.min_accuracy")),
            Expect("no_regression", MIN, column="accuracy_plus_margin", min_value=previous_metric("accuracy")),
            Expect("enough_examples", MIN, column="examples", min_value=100, severity="warning"),
            Expect(
                "rare_labels_learned",
                MIN,
                column="macro_f1",
                min_value=previous_metric("macro_f1", minus=0.06),
                severity="warning",
            ),
        ],
    )
]
