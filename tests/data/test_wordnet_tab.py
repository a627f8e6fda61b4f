"""Synonyms from the tab files of the Open Multilingual Wordnet."""

from __future__ import annotations

from pathlib import Path

import pytest
from document_tables import table

from llm_assets.data.augment import augment_table
from llm_assets.data.augment.config import AugmentConfig, Edit, FilterConfig, SynonymsConfig
from llm_assets.data.augment.thesaurus import thesaurus
from llm_assets.errors import UserError

FRENCH = """# French\tfra\thttp://example.org\tCeCILL-C
02084071-n\tfra:lemma\tchien
02084071-n\tfra:lemma\tcabot
02084071-n\tfra:lemma\tchien domestique
02084071-n\tfra:def\t0\tun animal
02512053-n\tlemma\tpoisson
02512053-n\tlemma\tpoiscaille
02519686-n\tlemma\tcabot
08524735-n\tfra:lemma\tParis
08524735-n\tfra:lemma\tcapitale
01153486-a\tfra:lemma\tdémesuré
01153486-a\tfra:lemma\texcessif
"""


def test_single_words_of_the_same_synset_stand_for_each_other(tmp_path: Path) -> None:
    (tmp_path / "wn-data-fra.tab").write_text(FRENCH, encoding="utf-8")
    lookup = thesaurus(SynonymsConfig(wordnet=str(tmp_path)))
    assert lookup("poisson") == ["poiscaille"]
    assert lookup("chien") == ["cabot"]
    assert lookup("cabot") == []  # which of its two senses is meant is not known
    assert lookup("excessif") == ["démesuré"]
    assert lookup("capitale") == lookup("paris") == lookup("inconnu") == []
    assert thesaurus(SynonymsConfig(wordnet=str(tmp_path), senses=2))("cabot") == ["chien"]
    config = AugmentConfig(
        operations=[Edit(kind="synonym")], share=1, synonyms=SynonymsConfig(wordnet=str(tmp_path)),
        filters=FilterConfig(keep_label=False),
    )  # fmt: skip
    made, counts = augment_table(table([("Un chien, puis un Poisson.", "a"), ("Un prix excessif ici", "b")]), config)
    assert counts["made_synonym"] == 2
    assert made["text"][2].as_py() in ("Un cabot, puis un Poisson.", "Un chien, puis un Poiscaille.")
    assert made["text"][3].as_py() == "Un prix démesuré ici"


def test_a_line_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "wn-data-fra.tab").write_text(FRENCH + "nothing of the kind\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"wn-data-fra\.tab, line 13: not a line of a wordnet's tab file"):
        thesaurus(SynonymsConfig(wordnet=str(tmp_path)))


def test_wordnet_as_tab_files_says_what_its_database_says(tmp_path: Path) -> None:
    """Debian's WordNet, turned into the format as its makers do: the same synonyms of words of one sense."""
    folder = Path("/usr/share/wordnet")
    if not (folder / "index.noun").is_file():
        pytest.skip(f"no WordNet in {folder}: apt-get install wordnet-base")
    with (tmp_path / "wn-data-eng.tab").open("w", encoding="utf-8") as out:
        out.write("# Princeton WordNet\teng\n")
        for line in (folder / "data.noun").read_text("ascii").splitlines():
            if not line.startswith("  "):
                fields = line.split(" ")
                for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]:
                    out.write(f"{fields[0]}-n\teng:lemma\t{word.replace('_', ' ')}\n")
    tab = thesaurus(SynonymsConfig(wordnet=str(tmp_path)))
    database = thesaurus(SynonymsConfig(wordnet=str(folder)))
    words = ["sofa", "physician", "aeroplane", "automobile", "lorry", "forest", "attorney", "bicycle"]
    told = {word: tab(word) for word in words if tab(word)}
    assert len(told) >= 4
    assert all(database(word) == synonyms for word, synonyms in told.items())
