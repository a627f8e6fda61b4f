"""Gates of the monitoring stage: an incomplete report is an error, a degraded endpoint is a warning."""

from llm_assets.quality import Expect, Suite

SUITES = [
    Suite(
        "monitoring_report",
        frame="metrics",
        expectations=[
            Expect("names_its_champion", "ExpectColumnValueLengthsToBeBetween", column="champion", min_value=8),
            Expect(
                "says_whether_degraded",
                "ExpectColumnValuesToBeInSet",
                column="degraded",
                value_set=[True, False],
            ),
            Expect("requests_counted", "ExpectColumnValuesToBeBetween", column="requests", min_value=0),
            Expect("feedback_counted", "ExpectColumnValuesToBeBetween", column="feedback_samples", min_value=0),
            Expect("probes_sent", "ExpectColumnValuesToBeBetween", column="probes", min_value=1),
            Expect(
                "accuracy_is_a_share",
                "ExpectColumnValuesToBeBetween",
                column="accuracy",
                min_value=0,
                max_value=1,
            ),
            Expect(
                "endpoint_available",
                "ExpectColumnValuesToBeInSet",
                "warning",
                column="available",
                value_set=[1],
            ),
            Expect("not_degraded", "ExpectColumnValuesToBeInSet", "warning", column="degraded", value_set=[False]),
            Expect("no_warnings", "ExpectColumnMaxToBeBetween", "warning", column="warning_count", max_value=0),
        ],
    )
]
