"""Gates of the prompts stage."""

from __future__ import annotations

from llm_assets.quality import Expect, Suite, previous_metric

MIN, MAX = "ExpectColumnMinToBeBetween", "ExpectColumnMaxToBeBetween"

SUITES = [
    Suite(
        "prompt_library",
        "metrics",
        [
            Expect("a_task_to_prompt_for", MIN, column="tasks", min_value=1),
            Expect("names_are_unique", MAX, column="duplicate_names", max_value=0),
            Expect("zero_shot_candidates", MIN, column="zero_shot_templates", min_value=1),
            Expect("few_shot_candidates", MIN, column="few_shot_templates", min_value=1),
            Expect("chain_of_thought_candidates", MIN, column="chain_of_thought_templates", min_value=1),
            Expect("prompts_stay_short", MAX, column="longest_prompt_chars", max_value=8_000, severity="warning"),
        ],
    ),
    Suite(
        "optimized_prompt",
        "metrics",
        [
            Expect("every_task_has_a_best", MIN, column="tasks", min_value=1),
            Expect("leaderboard_is_not_empty", MIN, column="candidates", min_value=1),
            Expect("scores_are_shares", MAX, column="lowest_best_score", max_value=1.0),
            Expect("best_is_no_worse_than_the_base", MIN, column="lowest_gain", min_value=0.0),
            Expect(
                "no_regression",
                MIN,
                column="lowest_best_score",
                min_value=previous_metric("lowest_best_score", minus=0.05),
                severity="warning",
            ),
        ],
    ),
]
