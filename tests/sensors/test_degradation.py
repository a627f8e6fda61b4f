"""One degradation starts one retrain: through the real sensor, on a real instance and a real traffic log."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from llm_assets.artifacts import write_json
from llm_assets.monitoring.config import RetrainConfig
from llm_assets.monitoring.decision import Decision, Memory, Observation, decide, remember, run_key
from llm_assets.recipe import current_recipe
from llm_assets.serving.feedback import accepted_path
from llm_assets.serving.labels import add_pairs, add_vote, make_pair
from llm_assets.serving.traffic import TrafficLog, now
from sensors.degradation import RETRAIN_TAG, degradation_sensor
from sensors.schedules import monitor_schedule

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
DEGRADED = Observation(True, ("feedback_accuracy",), "champion-1")
SETTINGS = RetrainConfig(min_feedback=10, cooldown_minutes=30, daily_budget=2)


def report(instance, degraded: bool, champion: str = "champion-1", reasons: str = "feedback_accuracy") -> None:
    metadata = {
        "degraded": degraded,
        "reasons": reasons if degraded else "",
        "champion": champion,
        "accuracy": 0.4,
    }
    instance.report_runless_asset_event(dg.AssetMaterialization("monitoring_report", metadata=metadata))


def serve(home, digest: str = "champion-1") -> None:
    write_json({"package": "/nowhere", "digest": digest, "deployed_at": "then"}, home / "endpoint" / "current.json")


def corrections(home, n: int, start: int = 0) -> None:
    log = TrafficLog(home)
    for at in range(start, start + n):
        log.request(
            {
                "id": f"r{at}",
                "at": now(),
                "task": "route",
                "text": f"text {at}",
                "reply": "a",
                "status": 200,
                "digest": "champion-1",
            }
        )
        log.feedback({"id": f"r{at}", "at": now(), "rating": "down", "correction": "b"})


def tick(instance, cursor: str | None = None) -> dg.SensorResult:
    sensor = degradation_sensor(current_recipe(), "retrain")
    context = dg.build_sensor_context(instance=instance, cursor=cursor, sensor_name="degradation")
    return sensor(context)


def test_one_degradation_starts_one_run(home, instance):
    assert "no monitoring report" in tick(instance).skip_reason.skip_message
    serve(home)
    corrections(home, 5)
    compared = make_pair("route", "which one", ("web", "tables"), "posted")
    add_pairs(home, [compared])
    add_vote(home, compared, "ada", "b")
    report(instance, degraded=False)
    assert "as good as it should be" in tick(instance).skip_reason.skip_message
    report(instance, degraded=True)
    result = tick(instance)
    (request,) = result.run_requests
    assert request.tags[RETRAIN_TAG] == "degradation"
    assert request.tags["llm-assets/champion"] == "champion-1"
    assert request.tags["llm-assets/reason"] == "feedback_accuracy"
    assert len(accepted_path(home).read_text().splitlines()) == 5
    assert json.loads((home / "feedback" / "labelled.jsonl").read_text())["chosen"] == "web"

    again = tick(instance, result.cursor)
    assert not again.run_requests and "cooldown" in again.skip_reason.skip_message
    assert again.cursor == result.cursor

    repeated = tick(instance)  # a daemon killed before it kept the cursor
    assert [r.run_key for r in repeated.run_requests] == [request.run_key]


def test_too_little_feedback_starts_nothing_and_accepts_nothing(home, instance):
    serve(home)
    corrections(home, 2)
    report(instance, degraded=True)
    assert "2 new corrections" in tick(instance).skip_reason.skip_message
    assert not accepted_path(home).exists()


def test_a_report_about_an_earlier_champion_starts_nothing(home, instance):
    serve(home, "champion-2")
    corrections(home, 5)
    report(instance, degraded=True, champion="champion-1")
    assert "not serving any more" in tick(instance).skip_reason.skip_message


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED])
def test_a_retrain_in_flight_is_waited_for(home, instance, status):
    from dagster._core.test_utils import create_run_for_test

    serve(home)
    corrections(home, 5)
    report(instance, degraded=True)
    run = create_run_for_test(instance, job_name="retrain", status=status)
    assert run.run_id[:8] in tick(instance).skip_reason.skip_message
    instance.report_run_failed(run)
    assert tick(instance).run_requests


def test_a_monitor_tick_is_left_out_while_one_waits(home, tmp_path):
    from dagster._core.test_utils import create_run_for_test

    (tmp_path / "dagster").mkdir()
    schedule = monitor_schedule(current_recipe(), "monitor")
    assert schedule.cron_schedule == "*/5 * * * *"
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=NOON)
        assert schedule.evaluate_tick(context).run_requests
        create_run_for_test(instance, job_name="monitor", status=dg.DagsterRunStatus.NOT_STARTED)
        context = dg.build_schedule_context(instance=instance, scheduled_execution_time=NOON)
        later = schedule.evaluate_tick(context)
        assert not later.run_requests and "not over yet" in later.skip_message


def look(memory: Memory, at: datetime = NOON, feedback: int = 50, **more) -> Decision:
    given = {"serving": "champion-1", "in_flight": []} | more
    return decide(DEGRADED, memory, SETTINGS, now=at, feedback=feedback, **given)


def test_cooldown_and_daily_budget():
    memory = remember(Memory(), NOON, 50)
    assert "cooldown" in look(memory, NOON + timedelta(minutes=29), 100).why
    assert "0 new corrections" in look(memory, NOON + timedelta(minutes=31), 50).why
    assert look(memory, NOON + timedelta(minutes=31), 60).retrain
    memory = remember(memory, NOON + timedelta(minutes=31), 60)
    assert "2 retrains are spent" in look(memory, NOON + timedelta(hours=5), 100).why
    assert look(memory, NOON + timedelta(hours=24, minutes=1), 100).retrain
    assert len(remember(memory, NOON + timedelta(days=3), 100).runs) == 1


def test_a_clock_set_back_neither_storms_nor_stops_for_ever():
    memory = remember(Memory(), NOON + timedelta(days=400), 0)
    assert "cooldown" in look(memory).why
    assert look(Memory(), NOON).retrain


@pytest.mark.parametrize(
    "cursor", [None, "", "{", "[]", '{"runs": ["yesterday", 5, "2026-01-01T00:00:00"]}', '{"runs": 3}']
)
def test_an_unreadable_cursor_counts_as_empty(cursor):
    assert Memory.load(cursor) == Memory()
    kept = Memory([NOON.isoformat()], 7)
    assert Memory.load(kept.dump()) == kept


def test_run_keys_name_champion_reasons_and_feedback():
    key = run_key(DEGRADED, "feedback-1")
    assert key == run_key(Observation(True, ("feedback_accuracy",), "champion-1"), "feedback-1")
    others = [
        run_key(DEGRADED, "feedback-2"),
        run_key(Observation(True, ("canary_accuracy",), "champion-1"), "feedback-1"),
        run_key(Observation(True, ("feedback_accuracy",), "champion-2"), "feedback-1"),
    ]
    assert len({key, *others}) == 4


def test_a_killed_report_does_not_hold_back_the_schedule(home):
    import dagster as dg

    from llm_assets.materialize import PROCESS_TAG
    from llm_assets.recipe import current_recipe
    from sensors.schedules import monitor_schedule

    @dg.job(name="monitor")
    def monitor():
        pass

    schedule = monitor_schedule(current_recipe(), "monitor")
    with dg.instance_for_test() as instance:
        dead = instance.create_run_for_job(monitor, status=dg.DagsterRunStatus.STARTED, tags={PROCESS_TAG: "999999-1"})
        with dg.build_schedule_context(instance=instance) as context:
            assert isinstance(schedule(context), dg.RunRequest)
        assert instance.get_run_by_id(dead.run_id).status == dg.DagsterRunStatus.FAILURE
