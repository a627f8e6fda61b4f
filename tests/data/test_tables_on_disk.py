"""Tables larger than memory go through the steps of `data.table`: the same rows whatever is read together."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import textwrap
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.data import coded as coded_module
from llm_assets.data import dependencies, linkage, repair, respell, stored, tabular
from llm_assets.data.coded import coded
from llm_assets.data.openrefine.table import concatenate, table_of
from llm_assets.data.openrefine.typed import store_parts
from llm_assets.data.stored import Ahead, Storing, by_number, store_table
from llm_assets.data.table_config import TableConfig

ROOT = Path(__file__).resolve().parents[2]
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
TEXTS = ["a", "b", "ab", "100", "1x0", "1,234", "2.5", "01/02/2003", "25/12/2001", "n/a", "", " A ", "e\u0301", "bern"]
TEXTS += ["berne", "$5", None]
ROWS = st.lists(st.tuples(*[st.sampled_from(TEXTS)] * 3, st.sampled_from([1, 2, None])), max_size=40)
POLICY = st.fixed_dictionaries({
    "column": st.sampled_from(["x", "y", "z", "n"]),
    "kind": st.sampled_from(["text", "label", "number", "date"]),
    "unreadable": st.sampled_from(["keep", "blank", "reject"]),
    "missing": st.sampled_from(["keep", "drop", "mode", "median", "fill_down"]),
    "min_evidence": st.sampled_from([1, 3]),
}).filter(lambda policy: policy["missing"] != "median" or policy["kind"] == "number")  # fmt: skip
REPAIR = {"min_accuracy": 0.6, "max_error_left": 0.95, "min_reached": 0.1, "min_support": 0.51, "min_frequent": 2}
REPAIR |= {"min_votes": 1, "min_length": 2}


def seen(table: pa.Table, config: TableConfig, size: int, most: int) -> list:
    """All that the steps make of a table of which `size` rows are read together, and `most` of what they find."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tabular, "store_table", lambda table, path: store_table(table, path, size))
        patched.setattr(stored, "BUCKET_ROWS", size)
        patched.setattr(repair, "TOGETHER", most)
        patched.setattr(dependencies, "COUNTED", most // 5)
        patched.setattr(respell, "TOGETHER", most)
        patched.setattr(linkage.candidate_pairs, "__defaults__", (most,))
        kept, rejected, reports = tabular.tidy_table(table, config, ROOT)
    said = [(one.step, one.rows_in, one.rows_out, one.changed, one.note, one.samples) for one in reports]
    return [kept.schema, kept.to_pylist(), rejected.schema, rejected.to_pylist(), said]


@QUICK
@given(ROWS, st.lists(POLICY, max_size=5), st.integers(1, 9), st.integers(1, 9), st.booleans())
def test_nothing_depends_on_what_is_read_together(rows, policies, size, most, more) -> None:
    columns = {name: pa.array([row[at] for row in rows], pa.string()) for at, name in enumerate("xyz")}
    table = pa.table({**columns, "n": pa.array([row[3] for row in rows], pa.int64())})
    steps = {"standardise": policies, **({"repair": REPAIR, "deduplicate": {"threshold": 0.5}} if more else {})}
    config = TableConfig.model_validate(steps)
    assert seen(table, config, size, most) == seen(table, config, 1000, 10**6)


CELLS = st.one_of(
    st.none(), st.sampled_from(["x", "1"]), st.integers(-3, 3), st.floats(-2, 2), st.booleans(), st.just(2**70),
    st.sampled_from([datetime(2020, 1, 2, tzinfo=UTC), datetime(2020, 1, 2, 3, tzinfo=timezone(timedelta(hours=2)))]),
)  # fmt: skip


@QUICK
@given(st.lists(CELLS, min_size=1, max_size=12), st.integers(1, 5))
def test_the_type_of_a_column_does_not_depend_on_its_parts(cells, size) -> None:
    whole = table_of({"a": cells, "b": [*cells[1:], None]})
    parts = [whole.take(range(at, min(at + size, len(cells)))) for at in range(0, len(cells), size)]
    assert concatenate(parts).columns == whole.columns
    with tempfile.TemporaryDirectory() as name:
        many, one = (store_parts(some, Path(name), at) for at, some in (("many", parts), ("one", [whole])))
        assert many.table().equals(one.table()) and many.ascending and many.rows == len(cells)
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds <= {int, float} and len(kinds) == 2 and 2**70 not in cells:
        assert pa.types.is_floating(one.schema.field("a").type)
    if len(kinds) > 2 or not kinds:
        assert pa.types.is_string(one.schema.field("a").type)


def test_a_column_that_a_part_lacks_is_blank_in_it(tmp_path: Path) -> None:
    parts = [table_of({"a": [1]}), table_of({"b": ["x"], "a": [2]}, 1), table_of({}, 2)]
    assert store_parts(parts, tmp_path, "t").table().to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]
    assert [path.name for path in tmp_path.iterdir()] == ["t.arrow"]


@QUICK
@given(st.permutations(range(23)), st.integers(1, 9), st.integers(1, 30))
def test_rows_come_in_the_order_of_their_numbers(numbers, size, until) -> None:
    table = pa.table({"a": [str(number) for number in numbers]})
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(stored, "BUCKET_ROWS", size)
        with Storing(Path(name) / "t.arrow", table.schema) as out:
            for first, batch in zip(range(0, 23, size), table.to_batches(max_chunksize=size), strict=True):
                out.add(np.array(numbers[first : first + size]), batch)
        found = by_number(out.stored(), Path(name), 23)
        assert found.ascending and found.table()["a"].to_pylist() == [str(number) for number in range(23)]
        ahead = Ahead(found)
        some, rest = ahead.until(until), ahead.until(99)
        assert some[0].tolist() == list(range(min(until, 23))) and rest[1].num_rows == 23 - len(some[0])
        assert len(list(Path(name).iterdir())) <= 2


@QUICK
@given(st.lists(st.one_of(st.none(), st.sampled_from(["", "a", "é", "longer text"])), max_size=20), st.integers(1, 5))
def test_codes_are_in_the_order_of_the_texts(texts, size) -> None:
    batches = [pa.array(texts[at : at + size], pa.string()) for at in range(0, len(texts), size)]
    with tempfile.TemporaryDirectory() as name:
        found = coded(lambda: iter(batches), Path(name) / "texts")
        filled = [text or "" for text in texts]
        distinct = list(dict.fromkeys(filled))
        assert found.texts.to_pylist() == distinct and found.texts_of(found.codes) == filled
        assert found.counts.tolist() == [filled.count(text) for text in distinct]
        assert found.blank == (distinct.index("") if "" in distinct else -1)
    assert coded_module._hashes(pa.array(["a", None, "a"])).tolist()[::2] == [coded_module._hashes(pa.array(["a"]))] * 2


@pytest.mark.parametrize("how", ["file", "source"])
def test_memory_does_not_grow_with_the_rows(how: str, tmp_path: Path) -> None:
    """64 MB of texts that take little more memory than 16 MB of them, by the command's way and by a source's."""
    code = textwrap.dedent("""
        import json, random, sys
        from pathlib import Path
        from llm_assets.data.openrefine import table
        from llm_assets.data import stored
        from llm_assets.data.rows import TableWriter
        from llm_assets.data.sources import found, tidied
        from llm_assets.data.sources.config import Files
        from llm_assets.data.sources.read import read_source
        from llm_assets.data.table_config import TableConfig
        from llm_assets.data.tabular import tidy_file

        folder, how, count, rng = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), random.Random(1)
        # What is bounded anyway is small here, so that both sizes reach the bounds.
        tidied.PART_BYTES = found.BATCH_CHARACTERS = 2**20
        table.together.__defaults__, stored.BUCKET_BYTES = (2**20,), 2**20
        TableWriter.BYTES = 4 * 2**20
        words = " ".join(f"word{rng.randrange(3000)}" for _ in range(20_000))
        with (folder / "t.jsonl").open("w") as out:
            for n in range(count):
                text = f"{n} " + words[(start := rng.randrange(len(words) - 8000)) : start + 8000]
                row = {"text": text, "team": "AbcA"[n % 4], "day": f"{n % 28 + 1}/{n % 12 + 1}/2001", "n": n}
                out.write(json.dumps(row) + "\\n")
        (folder / "h.json").write_text(json.dumps([
            {"op": "core/text-transform", "engineConfig": {"mode": "row-based", "facets": []}, "columnName": "text",
             "expression": "value + '.'", "onError": "keep-original", "repeat": False, "repeatCount": 0},
            {"op": "core/row-reorder", "mode": "row-based",
             "sorting": {"criteria": [{"column": "team", "valueType": "text", "reverse": True}]}},
        ]))
        steps = {
            "openrefine": str(folder / "h.json"),
            "standardise": [{"column": "text", "kind": "text"}, {"column": "team", "kind": "label"},
                            {"column": "day", "kind": "date"}, {"column": "n", "kind": "number", "missing": "median"}],
            "repair": {}, "deduplicate": {"columns": ["text", "n"]},
        }
        if how == "file":
            reports = tidy_file(folder / "t.jsonl", folder / "o.parquet", folder / "r.jsonl",
                                TableConfig.model_validate(steps))
            rows = reports[-1].rows_out
        else:
            source = Files.model_validate({"paths": ["t.jsonl"], "label_column": "team", "tidy": steps})
            rows = sum(batch.documents.num_rows for batch in read_source(source, folder / "home", folder))
        # VmHWM and not ru_maxrss, which counts the memory of the process that started this one too.
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        print(int(status["VmHWM"].split()[0]) // 1024, rows)
    """)
    peaks = []
    for count in (2_000, 8_000):
        command = [sys.executable, "-c", code, str(tmp_path), how, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        peak, rows = map(int, done.stdout.split())
        peaks.append(peak)
        assert rows == count
    assert peaks[1] < peaks[0] + 24, peaks
    assert not list(tmp_path.rglob(".tidy-*"))
