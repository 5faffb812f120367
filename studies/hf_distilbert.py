"""Made reviews, and a tiny DistilBERT of Hugging Face that says whether they praise: dict batches, ModelOutput.

A review has three, five or seven opinions, such as "and dull" or "the plot was fine". Its class says whether most of
them praise. Reviews are padded to one length, and the attention mask hides the padding. Guessing is right for 50 %.
It needs transformers: pip install "lcsweep[hf]".

    lcsweep run studies.hf_distilbert:quick
    lcsweep report runs/hf_distilbert_quick
"""

import random
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from lc_core import LowRank, Plan, Recipe, Schedule
from studies.plans import prune, prune_quantize, quantize
from sweep.study import Configuration, Data, Family, Study, Target

PRAISE = ("fine", "bright", "moving", "clever", "warm", "sharp")
BLAME = ("dull", "slow", "empty", "loud", "weak", "odd")
SUBJECTS = ("plot", "cast", "music", "ending", "film")
WORDS = ("[PAD]", "[CLS]", "the", "was", "and", *SUBJECTS, *PRAISE, *BLAME)
LENGTH = 32
TRAIN, VAL, TEST = 2000, 500, 500


def review(draw: random.Random) -> tuple[list[str], int]:
    """The words of a review, and its class: 1 if most of its opinions praise, else 0."""
    words, praised, opinions = ["[CLS]"], 0, draw.choice((3, 5, 7))
    for _ in range(opinions):
        praise = draw.random() < 0.5
        words += ["the", draw.choice(SUBJECTS), "was"] if draw.random() < 0.3 else ["and"]
        words.append(draw.choice(PRAISE if praise else BLAME))
        praised += praise
    return words, int(2 * praised > opinions)


class Reviews(Dataset[dict[str, Tensor]]):
    """Examples are dicts of `input_ids` (32,), `attention_mask` (32,) and `labels` (), all int64."""

    def __init__(self, count: int, *, seed: int) -> None:
        draw = random.Random(seed)
        self.reviews = [review(draw) for _ in range(count)]

    def __len__(self) -> int:
        return len(self.reviews)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        words, label = self.reviews[index]
        padding = LENGTH - len(words)
        return {
            "input_ids": torch.tensor([WORDS.index(word) for word in words] + [0] * padding),
            "attention_mask": torch.tensor([1] * len(words) + [0] * padding),
            "labels": torch.tensor(label),
        }


def load_data() -> Data:
    """Three sets of reviews."""
    return Data(Reviews(TRAIN, seed=0), Reviews(VAL, seed=1), Reviews(TEST, seed=2))


def build_model() -> nn.Module:
    """Two layers of width 64 with four heads: a dict of tokens, mask and labels -> loss and logits (n, 2)."""
    size = DistilBertConfig(
        vocab_size=len(WORDS), max_position_embeddings=LENGTH, dim=64, hidden_dim=128, n_layers=2, n_heads=4
    )
    return DistilBertForSequenceClassification(size)


def loss(outputs: Any, _: Tensor) -> Tensor:
    """The model's own: cross-entropy."""
    own: Tensor = outputs.loss
    return own


def low_rank(configuration: Configuration) -> Plan:
    """Every linear layer of the two transformer layers as two thinner ones."""
    return {"*.layer.*": LowRank(rank=int(configuration["rank"]))}


study = Study(
    name="hf_distilbert",
    build_model=build_model,
    load_data=load_data,
    loss=loss,
    reference=Recipe(epochs=3, lr=0.001, batch_size=50, optimizer="adam", clip_norm=1.0),
    schedule=Schedule(epochs=6, lr=0.001, batch_size=50, optimizer="adam", clip_norm=1.0),
    families=(
        Family("prune", {"keep": (0.3, 0.1, 0.05, 0.03, 0.02, 0.01, 0.005)}, prune),
        Family("quantize", {"size": (32, 16, 8, 4, 3, 2)}, quantize),
        Family("low rank", {"rank": (16, 8, 4, 2, 1)}, low_rank),
        Family("prune, quantize", {"keep": (0.1, 0.03, 0.01, 0.005), "size": (8, 4, 2)}, prune_quantize),
    ),
    target=Target(max_drop=0.01),
)

quick = replace(
    study,
    name="hf_distilbert_quick",
    schedule=replace(study.schedule, epochs=2),
    families=(
        Family("prune", {"keep": (0.1, 0.02)}, prune),
        Family("quantize", {"size": (8, 2)}, quantize),
        Family("low rank", {"rank": (8, 2)}, low_rank),
        Family("prune, quantize", {"keep": (0.1, 0.03), "size": (4,)}, prune_quantize),
    ),
)
