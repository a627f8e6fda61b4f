from llm_assets.pictures import bar_chart, line_chart, share_chart, table


def test_charts_are_images():
    for picture in (line_chart("loss", [(0, 2.0), (1, 1.0)]), bar_chart("rows", {"pandas": 3, "torch": 1})):
        assert picture.split("(")[1].startswith("data:image/png;base64,")


def test_text_in_a_table_stays_text():
    rows = [{"before": "<script>alert(1)</script> | ![x](http://host/x.png)", "after": "two\nlines"}]
    shown = table(rows)
    assert len(shown.splitlines()) == 3
    assert "<script" not in shown and "![" not in shown
    assert shown.splitlines()[2].count("|") == 3


def test_names_from_data_are_labels_and_no_formulas():
    name = "$\\frac{$ \n\x00" + "x" * 200
    for picture in (bar_chart("rows", {name: 3}), share_chart("quality", {name: {"valid": 3, "missing": 0}, "b": {}})):
        assert picture.startswith("![") and "data:image/png;base64," in picture
