"""Tables larger than memory go through the steps of `data.table`: the same rows whatever is read together."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peaks import printed

from llm_assets.data import coded as coded_module
from llm_assets.data import dependencies, linkage, repair, respell, stored, tabular
from llm_assets.data.coded import coded
from llm_assets.data.openrefine.apply import apply_history
from llm_assets.data.openrefine.halves import without_halves
from llm_assets.data.openrefine.table import concatenate, table_of
from llm_assets.data.openrefine.typed import store_parts
from llm_assets.data.openrefine.values import EvalError
from llm_assets.data.stored import Ahead, Storing, by_number, store_table
from llm_assets.data.table_config import TableConfig
from llm_assets.data.tidy_file import tidy_file
from llm_assets.errors import UserError

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
    """10 MB of texts instead of 1, by the command's way and by a source's."""
    code = """
        import json, random, sys
        from pathlib import Path
        from llm_assets.data.openrefine import runs, table
        from llm_assets.data import stored
        from llm_assets.data.rows import TableWriter
        from llm_assets.data.sources import found, tidied
        from llm_assets.data.sources.config import Files
        from llm_assets.data.sources.read import read_source
        from llm_assets.data.table_config import TableConfig
        from llm_assets.data.tidy_file import tidy_file

        folder, how, rng = Path(sys.argv[1]), sys.argv[2], random.Random(1)
        # What is bounded anyway is small here, so that both sizes reach the bounds.
        tidied.PART_BYTES = found.BATCH_CHARACTERS = stored.BUCKET_BYTES = 2**18
        table.together.__defaults__, runs.PIECE_BYTES = (2**18,), 2**12
        TableWriter.BYTES = 2**18
        words = " ".join(f"word{rng.randrange(3000)}" for _ in range(20_000))
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

        def tidy():
            if how == "file":
                reports = tidy_file(folder / "t.jsonl", folder / "o.parquet", folder / "r.jsonl",
                                    TableConfig.model_validate(steps))
                assert reports[-1].rows_out == count
            else:
                source = Files.model_validate({"paths": ["t.jsonl"], "label_column": "team", "tidy": steps})
                assert sum(one.documents.num_rows for one in read_source(source, folder / "home", folder)) == count

        for count in (500, 500, 5_000):  # the first time it imports
            with (folder / "t.jsonl").open("w") as out:
                for n in range(count):
                    text = f"{n} " + words[(start := rng.randrange(len(words) - 2000)) : start + 2000]
                    row = {"text": text, "team": "AbcA"[n % 4], "day": f"{n % 28 + 1}/{n % 12 + 1}/2001", "n": n}
                    out.write(json.dumps(row) + "\\n")
            print(peak(tidy))
    """
    _, small, large = printed(code, tmp_path, how)
    assert large < small + 4 * 2**20, (small, large)
    assert not list(tmp_path.rglob(".tidy-*"))


ENGINE = {"mode": "row-based", "facets": []}
TRANSFORM = {"op": "core/text-transform", "engineConfig": ENGINE, "onError": "store-error", "repeat": False}
SOME = {"type": "list", "columnName": "town", "expression": "value", "selection": [{"v": {"v": "ulm", "l": "ulm"}}],
        "name": "town", "selectBlank": False, "selectError": False, "invert": False}  # fmt: skip
ALONE = [
    TRANSFORM | {"columnName": "twin", "repeatCount": 0, "expression": "value + if(rowIndex == 450, ' twin', '')"},
    TRANSFORM | {"columnName": "n", "repeatCount": 0, "engineConfig": ENGINE | {"facets": [SOME]},
                 "expression": "if(row.index > 600, value.toNumber() / 2, value)"},
    {"op": "core/column-addition", "engineConfig": ENGINE, "baseColumnName": "town", "newColumnName": "cut",
     "columnInsertIndex": 0, "onError": "set-to-blank",
     "expression": "if(mod(rowIndex, 300) == 7, '\U0001f600'.substring(0, 1), cells['name'].value)"},
]  # fmt: skip


@pytest.mark.parametrize(
    "history",
    [
        ALONE,
        [*ALONE, {"op": "core/fill-down", "engineConfig": ENGINE, "columnName": "id"}],
        [
            *ALONE,
            {"op": "core/row-removal", "engineConfig": ENGINE | {"facets": [SOME | {"columnName": "cut"}]}},
            TRANSFORM | {"columnName": "town", "expression": "value.trim()"},
        ],
    ],
)
def test_rows_are_the_same_for_any_number_of_processes(
    history: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "h.json").write_text(json.dumps(history))
    rng = np.random.default_rng(0)
    names = ["ann", "bob", "cy", "dora"]
    rows = [
        {
            "id": str(at),
            "name": names[at % 4] if at % 97 else names[at % 4] + "x",
            "town": ["bern", "ulm", "jena", "rom"][at % 4],
            "day": f"{at % 28 + 1}/{at % 12 + 1}/2001" if at % 50 else "n/a",
            "price": f"${rng.integers(1, 10**6) / 100:,.2f}",
            "twin": str(at // 2),
            "n": int(at % 7),
        }
        for at in range(900)
    ]
    policies = [
        {"column": "day", "kind": "date", "missing": "drop"},
        {"column": "price", "kind": "number", "missing": "median", "unreadable": "reject"},
        {"column": "name", "kind": "label", "missing": "mode"},
        {"column": "name", "kind": "text", "missing": "fill_down", "missing_texts": ["cy"]},
        {"column": "n", "kind": "number", "unreadable": "blank"},
    ]
    steps = {"standardise": policies, "repair": REPAIR, "deduplicate": {"columns": ["twin", "name", "town", "day"]}}
    config, table = (
        TableConfig.model_validate({"openrefine": str(tmp_path / "h.json"), **steps}),
        pa.Table.from_pylist(rows),
    )
    monkeypatch.setattr(tabular, "store_table", lambda table, path: store_table(table, path, 100))
    monkeypatch.setattr(linkage.candidate_pairs, "__defaults__", (150,))
    found = []
    for workers in (1, 2):
        kept, rejected, reports = tabular.tidy_table(table, config, ROOT, workers)
        said = [(one.step, one.rows_in, one.rows_out, one.changed, one.note, one.samples) for one in reports]
        found.append((kept, rejected, said))
    assert found[0] == found[1]
    assert all(one.changed for one in reports) and {"missing", "duplicate"} <= set(rejected["reason"].to_pylist())
    assert [row["id"] for row in rejected.to_pylist() if row["reason"] == "openrefine"] == ["7", "307", "607"]
    assert found[0][2][0][:3] == ("openrefine", 900, 897)
    (tmp_path / "h.json").write_text(json.dumps([*history, TRANSFORM | {"columnName": "no", "expression": "value"}]))
    for workers in (1, 2):
        with pytest.raises(UserError, match=r"operation \d \(core/text-transform: \): no column 'no'"):
            tabular.tidy_table(table, config, ROOT, workers)


@pytest.mark.parametrize(("alone", "expected"), [(10, 2), (11, 1)])
def test_many_rows_are_worked_on_by_all_cores(alone, expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(tabular, "cores", lambda: 2)
    monkeypatch.setattr(tabular, "ALONE_ROWS", alone)
    started = tabular.processes
    monkeypatch.setattr(tabular, "processes", lambda workers: (asked.append(workers), started(workers))[1])
    tabular.tidy_table(pa.table({"a": ["x"] * 11}), TableConfig.model_validate({"repair": {}}), ROOT)
    assert asked == [expected]


def test_a_row_with_half_a_character_is_rejected_and_the_others_stay(tmp_path: Path) -> None:
    lines = [json.dumps({"a": f"x{n} \U0001f600", "b": n}) for n in range(4)]
    lines[1:1] = [json.dumps({"a": "y", "b": "\udc00z"}), json.dumps({"a": ["\ud800"], "b": 1})]
    path, out, rejected = (tmp_path / name for name in ("t.jsonl", "o.jsonl", "r.jsonl"))
    path.write_text("\n".join(lines))
    config = TableConfig.model_validate({"standardise": [{"column": "a", "kind": "text"}], "deduplicate": {}})
    (first, *_) = tidy_file(path, out, rejected, config)
    assert first.rows_in == first.rows_out == 4
    assert [json.loads(line)["a"] for line in out.read_text().splitlines()] == [f"x{n} \U0001f600" for n in range(4)]
    assert [json.loads(line) for line in rejected.read_text().splitlines()] == [
        {"a": "y", "b": "?z", "reason": "unicode", "detail": "b: half of a surrogate pair at character 0"},
        {"a": '["?"]', "b": "1", "reason": "unicode", "detail": "a: half of a surrogate pair at character 2"},
    ]
    path.write_text("\n".join([*lines, json.dumps({"\ud800": 1})]))
    with pytest.raises(UserError, match=r"row 7: the column name '\\ud800' has half of a surrogate pair"):
        tidy_file(path, out, rejected, config)


@pytest.mark.parametrize(
    ("cells", "mended", "places"),
    [
        (["a", None, "", "\U0001f600"], None, {}),
        (["\ud83d", "\ude00"], ["?", "?"], {0: 0, 1: 0}),
        ([1, None, "ab\ud800c"], [1, None, "ab?c"], {2: 2}),
        ([2.5, EvalError("x\udc00"), True], [2.5, "x?", True], {1: 1}),
    ],
)
def test_halves_of_pairs_are_found(cells, mended, places) -> None:
    table, found = without_halves(table_of({"n": [0] * len(cells), "a": cells}))
    assert table.columns["a"] == (mended or cells)
    assert found == {place: f"a: half of a surrogate pair at character {at}" for place, at in places.items()}


def test_rows_wait_beside_the_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of a history that must see all of them: nothing is put into TMPDIR, which is not there."""
    (tmp_path / "t.csv").write_text("a,b\nx;y,2\nz,1\n")
    history = [
        {"op": "core/column-split", "engineConfig": ENGINE, "columnName": "a", "guessCellType": False,
         "mode": "separator", "separator": ";", "regex": False, "maxColumns": 0, "removeOriginalColumn": False},
        {"op": "core/row-reorder", "mode": "row-based",
         "sorting": {"criteria": [{"column": "b", "valueType": "text", "reverse": False}]}},
    ]  # fmt: skip
    (tmp_path / "h.json").write_text(json.dumps(history))
    steps = {
        "openrefine": str(tmp_path / "h.json"),
        "standardise": [{"column": "b", "kind": "text", "missing": "mode"}],
        "repair": {},
        "deduplicate": {},
    }
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError), tempfile.TemporaryFile():
        pass
    out = tmp_path / "new" / "o.csv"
    apply_history(tmp_path / "h.json", tmp_path / "t.csv", out)
    assert out.read_text() == "a,a 1,a 2,b\nz,z,,1\nx;y,x,y,2\n"
    tidy_file(tmp_path / "t.csv", out, None, TableConfig.model_validate(steps))
    assert out.read_text() == "a,a 1,a 2,b\nz,z,,1\nx;y,x,y,2\n"
    assert [path.name for path in out.parent.iterdir()] == ["o.csv"]
