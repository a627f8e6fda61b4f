"""A real encoder in seconds: a tiny BERT that learns the tiny package's labelled texts, and its checkpoint."""

from __future__ import annotations

from pathlib import Path

from tiny_package import LABELS, ROWS

FAMILIES = ("bert", "roberta", "distilbert", "electra")
SAME = {label: label for label in LABELS}
TURNED = SAME | {"arrays": "web", "web": "arrays"}


def train(folder: Path, answers: dict[str, str], family: str = "bert", steps: int = 60, seed: int = 0) -> Path:
    """A checkpoint that classifies the tiny texts as `answers` says (label -> what it says for that label)."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    tokenizer = word_pieces()
    model = AutoModelForSequenceClassification.from_config(shape(family, len(tokenizer)))
    batch = tokenizer([text for text, _ in ROWS], padding=True, return_tensors="pt", return_token_type_ids=False)
    targets = torch.tensor([LABELS.index(answers[label]) for _, label in ROWS])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(steps):
        optimiser.zero_grad()
        model(**batch, labels=targets).loss.backward()
        optimiser.step()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def shape(family: str, vocab: int):
    """The configuration of a two-layer model of 64 dimensions for 128 tokens."""
    from transformers import AutoConfig

    common = {"vocab_size": vocab, "pad_token_id": 1, "max_position_embeddings": 130 if family == "roberta" else 128}
    names = {"id2label": dict(enumerate(LABELS)), "label2id": {label: at for at, label in enumerate(LABELS)}}
    sizes = (
        {"dim": 64, "n_layers": 2, "n_heads": 2, "hidden_dim": 128}
        if family == "distilbert"
        else {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    )
    return AutoConfig.for_model(family, **common, **names, **sizes)


def word_pieces():
    """A WordPiece tokenizer of the tiny texts, which adds [CLS] and [SEP]."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    # Not learned: the library's WordPiece trainer breaks ties by the order of a hash map, another one in every process.
    words = {word for text, _ in ROWS for word in text.split()}
    letters = {letter for word in words for letter in word}
    pieces = [
        "[UNK]",
        "[PAD]",
        "[CLS]",
        "[SEP]",
        *sorted(letters),
        *sorted(f"##{c}" for c in letters),
        *sorted(words - letters),
    ]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
