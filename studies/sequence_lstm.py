"""Made sequences, an embedding, an LSTM and a linear layer: which letter followed the last mark?

A sequence has 24 tokens of 12: eleven letters and a mark, which comes three times. Its class is the letter that stands
after the last mark, so the network must remember one letter and forget it at the next mark. Guessing is right for 9 %.

    lcsweep run studies.sequence_lstm:quick
    lcsweep report runs/sequence_lstm_quick
"""

from dataclasses import replace

import torch
from torch import nn

from lc_core import LowRank, Plan, Recipe, Schedule
from studies.plans import prune, prune_quantize, quantize
from sweep.study import Configuration, Data, Family, Split, Study, Target

TOKENS, LENGTH, MARKS = 12, 24, 3
TRAIN, VAL, TEST = 4000, 1000, 1000


def load_data() -> Data:
    """Tokens (n, 24) of int64, classes (n,) from 0 to 10."""
    generator = torch.Generator().manual_seed(0)
    n = TRAIN + VAL + TEST
    tokens = torch.randint(1, TOKENS, (n, LENGTH), generator=generator)
    places = torch.rand(n, LENGTH // 2, generator=generator).argsort(dim=1)[:, :MARKS] * 2
    tokens.scatter_(1, places, 0)  # at even places, so that a letter follows each mark
    targets = tokens.gather(1, places.amax(dim=1, keepdim=True) + 1).squeeze(1) - 1
    parts = torch.arange(n).split([TRAIN, VAL, TEST])
    return Data(*(Split(tokens[part], targets[part]) for part in parts))


class Tagger(nn.Module):
    """(n, 24) tokens -> (n, 11) logits: what an LSTM remembers at the end of the sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, 16)
        self.lstm = nn.LSTM(16, 48, batch_first=True)
        self.output = nn.Linear(48, TOKENS - 1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of the letters."""
        states, _ = self.lstm(self.embedding(tokens))
        logits: torch.Tensor = self.output(states[:, -1])
        return logits


def low_rank(configuration: Configuration) -> Plan:
    """Each of the LSTM's two weight matrices at low rank."""
    return {"lstm*": LowRank(rank=int(configuration["rank"]))}


study = Study(
    name="sequence_lstm",
    build_model=Tagger,
    load_data=load_data,
    loss=nn.functional.cross_entropy,
    reference=Recipe(epochs=12, lr=0.005, batch_size=50, optimizer="adam", clip_norm=1.0),
    schedule=Schedule(epochs=12, lr=0.005, batch_size=50, optimizer="adam", clip_norm=1.0),
    families=(
        Family("prune", {"keep": (0.5, 0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03)}, prune),
        Family("quantize", {"size": (32, 16, 8, 4, 3, 2)}, quantize),
        Family("low rank", {"rank": (12, 10, 8, 6, 4, 3)}, low_rank),
        Family("prune, quantize", {"keep": (0.3, 0.2, 0.1, 0.05), "size": (16, 4, 2)}, prune_quantize),
    ),
    target=Target(max_drop=0.01),
)

quick = replace(
    study,
    name="sequence_lstm_quick",
    schedule=replace(study.schedule, epochs=6),
    families=(
        Family("prune", {"keep": (0.2, 0.05)}, prune),
        Family("quantize", {"size": (8, 2)}, quantize),
        Family("low rank", {"rank": (8, 4)}, low_rank),
        Family("prune, quantize", {"keep": (0.1, 0.05), "size": (4,)}, prune_quantize),
    ),
)
