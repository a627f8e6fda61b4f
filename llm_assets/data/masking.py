"""Remove from a text the name of its own label, so that a class cannot be read off.

A library is named by its import name, by what people call it and by the aliases it is imported under. In a dotted
path the name is dropped (`np.linalg.norm` becomes `linalg.norm`), inside an identifier too (`DagsterInstance`
becomes `Instance`); a word of its own becomes "library", which any label's text may hold.
"""

from __future__ import annotations

import re
from functools import cache

NEUTRAL = "library"
ALIASES: dict[str, tuple[str, ...]] = {
    "PIL": ("pillow",),
    "accelerate": ("accelerator", "accelerated"),
    "altair": ("alt",),
    "dagster": ("dg",),
    "great_expectations": ("great expectations", "gx", "gxe", "ge", "great expectation"),
    "huggingface_hub": ("huggingface", "hugging face", "hfapi", "hf"),
    "jinja2": ("jinja",),
    "matplotlib": ("mpl", "plt", "pyplot", "pylab"),
    "networkx": ("nx",),
    "numpy": ("np",),
    "onnxruntime": ("onnx runtime", "ort"),
    "pandas": ("pd",),
    "pyarrow": ("pa", "arrow"),
    "scipy": ("sp",),
    "sklearn": ("scikit-learn", "scikit learn", "scikits", "scikit"),
    "sqlalchemy": ("sa", "sqla"),
    "stdlib": ("standard library",),
    "sympy": ("sp",),
    "torch": ("pytorch",),
    "transformers": ("🤗 transformers",),
    "trl": ("transformer reinforcement learning",),
}
SHORT = 4  # names up to this length are masked only as words: `np` is part of `input`


def label_names(label: str) -> list[str]:
    """Every spelling of a label that masking removes, longest first, in lower case."""
    names = {label, label.replace("_", " "), label.replace("_", "-"), label.replace("_", "")}
    names.update(ALIASES.get(label, ()))
    return sorted({name.lower().strip() for name in names if name.strip()}, key=lambda name: (-len(name), name))


def mask_label(text: str, label: str) -> str:
    """`text` without any name of `label`, in whatever case."""
    lower = text.lower()
    return _apply(text, label) if any(name in lower for name in _names(label)) else text


def _apply(text: str, label: str) -> str:
    path, word, part = _patterns(label)
    for _ in range(4):  # taking out one name can join the halves of another
        masked = path.sub("", text)
        masked = word.sub(NEUTRAL if NEUTRAL not in label_names(label) else "it", masked)
        if part is not None:
            masked = part.sub("", masked)
        if masked == text:
            break
        text = masked
    return text


@cache
def _names(label: str) -> list[str]:
    return label_names(label) if label else []


@cache
def _patterns(label: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str] | None]:
    """(in front of a dot in a path, a word of its own, inside a longer identifier)."""
    names = label_names(label)
    every = "|".join(re.escape(name) for name in names)
    long = "|".join(re.escape(name) for name in names if len(name) > SHORT)
    path = re.compile(rf"(?<![A-Za-z0-9])(?:{every})\.(?=[A-Za-z_])", re.I)
    word = re.compile(rf"(?<![A-Za-z0-9])(?:{every})(?![A-Za-z0-9])", re.I)
    part = re.compile(rf"(?:{long})", re.I) if long else None
    return path, word, part
