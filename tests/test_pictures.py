from llm_assets.pictures import bar_chart, line_chart, table


def test_charts_are_images():
    for picture in (line_chart("loss", [(0, 2.0), (1, 1.0)]), bar_chart("rows", {"pandas": 3, "torch": 1})):
        assert picture.split("(")[1].startswith("data:image/png;base64,")


def test_text_in_a_table_stays_text():
    rows = [{"before": "<script>alert(1)</script> | ![x](http://host/x.png)", "after": "two\nlines"}]
    shown = table(rows)
    assert len(shown.splitlines()) == 3
    assert "<script" not in shown and "![" not in shown
    assert shown.splitlines()[2].count("|") == 3
