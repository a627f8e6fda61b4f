"""Gates of the deployment stage."""

from llm_assets.quality import Expect, Suite

SUITES = [
    Suite(
        "deployed_endpoint",
        frame="metrics",
        expectations=[
            Expect(
                "a_decision_was_made",
                "ExpectColumnValuesToBeInSet",
                column="decision",
                value_set=["deploy", "keep"],
            ),
            Expect("a_digest_is_served", "ExpectColumnValueLengthsToBeBetween", column="digest", min_value=8),
            Expect(
                "accuracy_is_a_share",
                "ExpectColumnValuesToBeBetween",
                column="accuracy",
                min_value=0,
                max_value=1,
            ),
            Expect("the_endpoint_answered", "ExpectColumnValuesToBeInSet", column="answered", value_set=[True]),
            Expect(
                "judged_on_enough_rows",
                "ExpectColumnMinToBeBetween",
                "warning",
                column="test_rows",
                min_value=50,
            ),
        ],
    )
]
