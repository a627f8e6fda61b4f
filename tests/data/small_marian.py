"""A small Marian that translates short captions between English and German, trained from scratch."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import MarianConfig, MarianMTModel, PreTrainedTokenizerFast

from llm_assets.models.config import OptimizerConfig
from llm_assets.models.optimizer import make_optimizer

VOCABULARY, ROWS = 2000, 48
SPECIAL = ["</s>", "<unk>", "<de>", "<en>"]  # and <pad> as the last token, where Marian has it


def plain(text: str) -> str:
    """A caption in lower case without its full stop."""
    return text.strip().rstrip(".").lower()


def build(
    pairs: Sequence[tuple[str, str]], width: int = 128
) -> tuple[MarianMTModel, dict[str, PreTrainedTokenizerFast]]:
    """(an untrained model for both ways, target language -> the tokenizer whose first token asks for it)."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIAL, show_progress=False)
    backend.train_from_iterator([text for pair in pairs for text in pair], trainer)
    backend.add_special_tokens(["<pad>"])
    pad = backend.token_to_id("<pad>")
    tokenizers = {}
    for language in ("<de>", "<en>"):
        own = Tokenizer.from_str(backend.to_str())
        own.post_processor = processors.TemplateProcessing(
            single=f"{language} $A </s>", special_tokens=[(name, SPECIAL.index(name)) for name in (language, "</s>")]
        )
        tokenizers[language] = PreTrainedTokenizerFast(
            tokenizer_object=own, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=64,
            additional_special_tokens=["<de>", "<en>"],
        )  # fmt: skip
    torch.manual_seed(0)
    model = MarianMTModel(
        MarianConfig(
            vocab_size=backend.get_vocab_size(), d_model=width, encoder_layers=2, decoder_layers=1,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=2 * width, decoder_ffn_dim=2 * width,
            max_position_embeddings=64, pad_token_id=pad, eos_token_id=0, bos_token_id=0, decoder_start_token_id=pad,
            forced_eos_token_id=None, scale_embedding=True, share_encoder_decoder_embeddings=True, dropout=0.0,
            attention_dropout=0.0, activation_function="relu", init_std=width**-0.5,
        )
    )  # fmt: skip
    return model, tokenizers


def train(
    model: MarianMTModel, tokenizers: dict[str, PreTrainedTokenizerFast], pairs: Sequence[tuple[str, str]], steps: int
) -> None:
    """Both ways at once: (English, German) pairs, each also turned round."""
    ids = {
        language: [item.ids for item in own.backend_tokenizer.encode_batch([pair[at] for pair in pairs])]
        for at, (language, own) in enumerate(tokenizers.items())
    }  # sources in English ask for <de>, sources in German for <en>
    examples = [(source, target[1:]) for source, target in zip(ids["<de>"], ids["<en>"], strict=True)]
    examples += [(source, target[1:]) for source, target in zip(ids["<en>"], ids["<de>"], strict=True)]
    order = sorted(range(len(examples)), key=lambda at: (len(examples[at][0]), len(examples[at][1])))
    groups = [order[at : at + ROWS] for at in range(0, len(order), ROWS)]
    draw, queue = random.Random(0), []
    settings = OptimizerConfig(embedding_rate=4e-3, hidden_rate=4e-3, muon_rate=0.02)
    optimizer, schedule = make_optimizer(model, settings, steps)
    model.train()
    pad = int(model.config.pad_token_id)
    for _ in range(steps):
        queue = queue or draw.sample(groups, len(groups))
        rows = [examples[at] for at in queue.pop()]
        source, target = (_padded([row[side] for row in rows], pad) for side in (0, 1))
        start = torch.cat([torch.full((len(rows), 1), pad), target[:, :-1]], 1)
        states = model.model(
            input_ids=source, attention_mask=(source != pad).long(), decoder_input_ids=start
        ).last_hidden_state
        wanted = target != pad
        loss = torch.nn.functional.cross_entropy(model.lm_head(states[wanted]), target[wanted], label_smoothing=0.1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    model.eval()


def save(model: MarianMTModel, tokenizers: dict[str, PreTrainedTokenizerFast], folder: Path) -> tuple[Path, Path]:
    """(folder of the way into German, folder of the way back)."""
    for language, own in tokenizers.items():
        model.save_pretrained(folder / language[1:3])
        own.save_pretrained(folder / language[1:3])
    return folder / "de", folder / "en"


def _padded(rows: Sequence[Sequence[int]], pad: int) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
