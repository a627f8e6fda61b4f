"""The `data.augment` section of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, HttpUrl

from llm_assets.config import Section

EditName = Literal["synonym", "insert", "swap", "delete"]


class Edit(Section):
    """One of the four operations of EDA (Wei and Zou 2019)."""

    kind: EditName
    alpha: float | None = Field(
        default=None, ge=0, le=0.5, description="share of a text's words that it changes; by default the section's"
    )
    n: int = Field(default=1, ge=1, le=16, description="copies that it makes in one round of the operations")


class CutMix(Section):
    """A span of a text gives way to one of a text of another label; the label is shared out by words.

    CutMix of images (Yun et al. 2019), on words. A soft label is two rows with the same text, one a label, whose
    weights are the shares: the cross-entropy of a soft target is the same weighted sum.
    """

    kind: Literal["cutmix"] = "cutmix"
    beta: float = Field(default=1.0, gt=0, description="the share kept is drawn from Beta(beta, beta)")
    n: int = Field(default=1, ge=1, le=16, description="copies that it makes in one round of the operations")


class BackTranslation(Section):
    """Into another language and back (Sennrich, Haddow and Birch 2016), by checkpoints of one's own."""

    kind: Literal["back_translation"] = "back_translation"
    forward: str = Field(description="folder of a seq2seq checkpoint (transformers) or of a CTranslate2 model")
    back: str = Field(description="the same, of the way back; may be the same folder")
    languages: tuple[str, str] | None = Field(
        default=None,
        description="of a checkpoint of many languages (NLLB, M2M100, mBART), its codes of the texts' language and of "
        "the other: [eng_Latn, deu_Latn]",
    )
    prefixes: tuple[str, str] | None = Field(
        default=None,
        description="of a checkpoint that is told in words what to do (T5), what stands before a text there and back: "
        "['translate English to German: ', 'translate German to English: ']",
    )
    batch_size: int = Field(default=32, ge=1, description="texts translated together")
    beams: int = Field(default=1, ge=1, le=16, description="beam width; 1 is greedy")
    max_tokens: int = Field(default=192, ge=8, description="tokens of a translation at most")


class Paraphrase(Section):
    """Rewriting by a model behind an OpenAI-compatible endpoint. The API key comes from the environment alone."""

    kind: Literal["paraphrase"] = "paraphrase"
    url: HttpUrl = Field(description="base URL, as `https://host/v1`")
    model: str
    key_variable: str = Field(default="OPENAI_API_KEY", description="the environment variable that holds the key")
    instruction: str = Field(
        default="Rewrite the text in other words. Keep its meaning, tone and language. Answer with the rewritten text "
        "alone.",
        description="the system message; the text is the user's",
    )
    n: int = Field(default=1, ge=1, le=8, description="copies that it makes in one round of the operations")
    temperature: float = Field(default=0.7, ge=0, le=2)
    max_tokens: int = Field(default=256, ge=8, description="tokens of an answer at most")
    max_requests: int = Field(
        default=1000, ge=1, description="paraphrases asked for at most, those in the cache counted: bounds the spend"
    )
    timeout: float = Field(default=60, gt=0, description="seconds that one request may take")
    retries: int = Field(default=3, ge=0, le=10, description="of one request, with growing pauses")
    workers: int = Field(default=4, ge=1, le=64, description="requests under way at a time")


def _from_name(value: Any) -> Any:
    return {"kind": value} if isinstance(value, str) else value


Operation = Annotated[
    Edit | CutMix | BackTranslation | Paraphrase, Field(discriminator="kind"), BeforeValidator(_from_name)
]


class SynonymsConfig(Section):
    """Where synonyms come from."""

    wordnet: str | None = Field(
        default=None,
        description="folder of WordNet's database (`data.*`, `index.*`, `*.exc`; Debian's wordnet-base puts it in "
        "/usr/share/wordnet), or of the Open Multilingual Wordnet's `*.tab` of a language; by default the list that "
        "ships with the project",
    )
    senses: int = Field(
        default=1,
        ge=1,
        le=10,
        description="of WordNet: a word's most frequent senses that count; of a `*.tab`, which does not say which "
        "these are: a word of more senses is left alone",
    )


class FilterConfig(Section):
    """Which augmented rows are dropped again, with a count of each reason.

    Texts that equal their parent but for case, punctuation and white space always are.
    """

    min_change: float = Field(
        default=0.0, ge=0, lt=1, description="share of the words that must differ from the parent's (0: any change)"
    )
    keep_label: bool = Field(
        default=True,
        description="drop rows that a classifier (TF-IDF, logistic loss; trained on the train split) gives another "
        "label than its own, where it gives the parent the right one",
    )
    margin: float = Field(
        default=0.0, ge=0, lt=1, description="how much more probable than its own that other label must be"
    )
    train_rows: int = Field(default=20_000, ge=100, description="rows that the classifier is trained on at most")


class AugmentConfig(Section):
    """Augmentation of the train split: its own rows stay, copies come behind them."""

    operations: list[Operation] = Field(
        default=[Edit(kind="synonym"), Edit(kind="insert"), Edit(kind="swap"), Edit(kind="delete")],
        description="applied in turn: names (synonym, insert, swap, delete, cutmix) or sections with their `kind`",
    )
    alpha: float = Field(default=0.1, ge=0, le=0.5, description="share of a text's words that an edit changes")
    share: float = Field(default=0.15, ge=0, le=1, description="share of the train rows that get augmented copies")
    copies: int | None = Field(
        default=1, ge=1, le=64, description="augmented copies of each such row; none: one of every operation, n times"
    )
    max_words: int = Field(default=120, ge=5, description="words of a text that an augmented copy keeps")
    synonyms: SynonymsConfig = SynonymsConfig()
    filters: FilterConfig = FilterConfig()
