"""Gates of the models stage."""

from __future__ import annotations

from llm_assets.quality import Expect, Suite, previous_metric, recipe_value

MIN, MAX = "ExpectColumnMinToBeBetween", "ExpectColumnMaxToBeBetween"

SUITES = [
    Suite(
        "tokenizer",
        "metrics",
        [
            Expect("texts_survive_a_round_trip", MAX, column="round_trip_failures", max_value=0),
            Expect(
                "vocabulary_within_its_size",
                MAX,
                column="vocabulary",
                max_value=recipe_value("models.tokenizer.vocab_size"),
            ),
            Expect("all_bytes_and_special_tokens", MIN, column="vocabulary", min_value=261),
            Expect("special_tokens_known", MIN, column="special_tokens", min_value=5),
            Expect("tokens_are_longer_than_a_byte", MIN, column="chars_per_token", min_value=1.2),
            Expect("words_stay_mostly_whole", MAX, column="tokens_per_word", max_value=4.0, severity="warning"),
        ],
    ),
    Suite(
        "architecture_report",
        "metrics",
        [
            Expect("candidates_compared", MIN, column="candidates", min_value=1),
            Expect("one_is_chosen", "ExpectColumnValuesToNotBeNull", column="chosen"),
            Expect("loss_is_a_number", "ExpectColumnValuesToNotBeNull", column="best_validation_loss"),
            Expect("loss_is_finite", MAX, column="best_validation_loss", max_value=50),
            Expect(
                "better_than_uniform",
                "ExpectColumnPairValuesAToBeGreaterThanB",
                column_A="uniform_loss",
                column_B="best_validation_loss",
            ),
            Expect("at_least_two_candidates", MIN, column="candidates", min_value=2, severity="warning"),
        ],
    ),
    Suite(
        "pretrained_model",
        "metrics",
        [
            Expect("loss_is_finite", MIN, column="loss_is_finite", min_value=1),
            Expect("validation_loss_fell", MIN, column="loss_below_start", min_value=0.1),
            Expect(
                "perplexity_ceiling", MAX, column="perplexity", max_value=recipe_value("models.gates.max_perplexity")
            ),
            Expect(
                "no_regression",
                MAX,
                column="validation_loss",
                max_value=previous_metric("validation_loss", plus=0.2),
            ),
            Expect("text_to_learn_from", MIN, column="corpus_tokens", min_value=1_000, severity="warning"),
        ],
    ),
]
