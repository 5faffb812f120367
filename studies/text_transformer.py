"""Letters of made English sentences and a small decoder: its own attention with a causal mask, head and embedding tied.

A grammar makes sentences such as "the small cats that see a bird sleep." Verbs agree with their subjects, also over a
clause between them. Nobody can know which word comes next, so no model is right at every letter. The score of a window
of 48 letters is the share of its next letters that the model gets right; always answering with a space gets 17 %.

    lcsweep run studies.text_transformer:quick
    lcsweep report runs/text_transformer_quick
"""

import random
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from lc_core import LowRank, Plan, Recipe, Schedule
from studies.plans import prune, prune_quantize, quantize
from sweep.study import Configuration, Data, Family, Split, Study, Target

LETTERS = " .abcdefghijklmnopqrstuvwxyz"
NOUNS = ("cat", "dog", "bird", "horse", "farmer", "teacher", "child", "queen", "robot", "wizard")
ADJECTIVES = ("small", "old", "quiet", "happy", "yellow", "brave", "tired")
TRANSITIVE, INTRANSITIVE = ("see", "follow", "remember", "help", "draw"), ("sleep", "laugh", "wander", "sing", "wait")
WINDOW, WIDTH, HEADS, BLOCKS = 48, 64, 4, 2
TRAIN, VAL, TEST = 1200, 300, 300


def noun_phrase(draw: random.Random, *, depth: int) -> tuple[str, str]:
    """A noun phrase, and the ending of its verb: "" in the plural, "s" in the singular."""
    singular = draw.random() < 0.5
    words = [draw.choice(("the", "a", "this") if singular else ("the", "some", "these"))]
    words += draw.sample(ADJECTIVES, draw.choice((0, 1, 1, 2)))
    words += [draw.choice(NOUNS) + ("" if singular else "s")]
    ending = "s" if singular else ""
    if depth and draw.random() < 0.4:
        words += ["that", draw.choice(TRANSITIVE) + ending, noun_phrase(draw, depth=depth - 1)[0]]
    return " ".join(words), ending


def text(seed: int, length: int) -> str:
    """`length` letters of sentences."""
    draw, sentences = random.Random(seed), ""
    while len(sentences) < length:
        subject, ending = noun_phrase(draw, depth=2)
        if draw.random() < 0.5:
            sentences += f"{subject} {draw.choice(INTRANSITIVE)}{ending}. "
        else:
            sentences += f"{subject} {draw.choice(TRANSITIVE)}{ending} {noun_phrase(draw, depth=1)[0]}. "
    return sentences[:length]


def load_data() -> Data:
    """Windows of letters (n, 48), and the letter after each (n, 48), of int64; each split is a text of its own."""
    splits = []
    for seed, windows in enumerate((TRAIN, VAL, TEST)):
        letters = torch.tensor([LETTERS.index(letter) for letter in text(seed, windows * WINDOW + 1)])
        splits.append(Split(letters[:-1].reshape(-1, WINDOW), letters[1:].reshape(-1, WINDOW)))
    return Data(*splits)


class Attention(nn.Module):
    """(n, t, 64) -> (n, t, 64): four heads; each position sees itself and those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs = nn.Linear(WIDTH, 3 * WIDTH)
        self.output = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A weighted mean of the values at the positions that are seen."""
        queries, keys, values = self.inputs(x).unflatten(2, (3, HEADS, WIDTH // HEADS)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        outputs: torch.Tensor = self.output(mixed.transpose(1, 2).flatten(2))
        return outputs


class Block(nn.Module):
    """Attention, then two linear layers. Each takes normed inputs, and its output is added to them."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(WIDTH), Attention())
        self.feed = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features of features."""
        x = x + self.attention(x)
        features: torch.Tensor = x + self.feed(x)
        return features


class Decoder(nn.Module):
    """(n, t) letters -> (n, t, 28) logits of the letter after each."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(LETTERS), WIDTH)
        self.positions = nn.Embedding(WINDOW, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(LETTERS), bias=False)
        nn.init.normal_(self.embedding.weight, std=0.1)
        nn.init.normal_(self.positions.weight, std=0.1)
        self.head.weight = self.embedding.weight  # tied: compressed and stored once

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        """Logits of the next letters."""
        positions = torch.arange(letters.shape[1], device=letters.device)
        features = self.blocks(self.embedding(letters) + self.positions(positions))
        logits: torch.Tensor = self.head(self.norm(features))
        return logits


def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy over all positions."""
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def share_right(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(n,) the share of each window's next letters that are right."""
    return (outputs.argmax(dim=2) == targets).float().mean(dim=1)


def low_rank(configuration: Configuration) -> Plan:
    """Every linear layer of the blocks as two thinner ones; embedding, positions and head stay as they are."""
    return {"blocks.*": LowRank(rank=int(configuration["rank"]))}


study = Study(
    name="text_transformer",
    build_model=Decoder,
    load_data=load_data,
    loss=loss,
    reference=Recipe(epochs=20, lr=0.003, batch_size=40, optimizer="adam", clip_norm=1.0),
    schedule=Schedule(epochs=20, lr=0.003, batch_size=40, optimizer="adam", clip_norm=1.0),
    families=(
        Family("prune", {"keep": (0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05)}, prune),
        Family("quantize", {"size": (32, 16, 8, 4, 3, 2)}, quantize),
        Family("low rank", {"rank": (32, 24, 16, 12, 8, 6, 4)}, low_rank),
        Family("prune, quantize", {"keep": (0.3, 0.2, 0.1), "size": (16, 8, 4)}, prune_quantize),
    ),
    metrics={"accuracy": share_right},
    target=Target(max_drop=0.01),
)

quick = replace(
    study,
    name="text_transformer_quick",
    schedule=replace(study.schedule, epochs=5),
    families=(
        Family("prune", {"keep": (0.3, 0.1)}, prune),
        Family("quantize", {"size": (16, 4)}, quantize),
        Family("low rank", {"rank": (16, 8)}, low_rank),
        Family("prune, quantize", {"keep": (0.3, 0.2), "size": (8,)}, prune_quantize),
    ),
)
