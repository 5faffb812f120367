"""Tries the packed files of each family's ends as ONNX files: torch exports them, and ONNX Runtime runs them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import nn

from lc_core.file.artifact import Artifact, ArtifactError
from lc_core.onnx import has_onnx
from lc_core.structure.restructure import restructured
from lc_core.structure.surgery import StructureError
from lc_core.training.nest import Nest
from sweep.study import Data, Study
from sweep.study.splits import inputs_in_use

LARGE = 100
"""The layers of a model that takes long to trace. ResNet20 has 60, and takes two to three seconds."""
EXAMPLES = 5
"""The examples on which outputs are compared: not two, as in the trace, which may hold for two alone."""


@dataclass(frozen=True)
class Verdict:
    """Whether a family has ONNX files.

    Attributes:
        serves: whether ONNX Runtime's outputs are torch's, at both ends; None where that was not tried.
        words: the same in words, and why not.
    """

    serves: bool | None
    words: str


SERVES = Verdict(True, "ONNX Runtime's outputs are torch's")
NOT_TRIED = Verdict(None, "not tried: it runs in other layers, and to trace so large a model again takes long")


class OnnxTrial:
    """The verdicts on a study's families, from the packed files that `look` sees; none without the extra `onnx`.

    `step` gets what is done next, in words.

    To trace a model takes seconds, so as few are traced as will do. A graph takes its weights as inputs, so files whose
    models have the same weights by name share one. Channels that are cut out change only shapes: where ONNX Runtime's
    outputs in a shared graph are not torch's, the model is traced for itself. Low rank runs in other layers: of a
    large model it is not tried.

    Attributes:
        verdicts: by family.
    """

    def __init__(self, study: Study, data: Data, *, step: Callable[[str], None]) -> None:
        self.verdicts: dict[str, Verdict] = {}
        self._study, self._data, self._step = study, data, step
        self._traced: list[tuple[dict[str, tuple[int, ...]], Any]] = []  # shapes and graph
        self._never: Verdict | None = None

    def look(self, family: str, artifact: Artifact) -> None:
        """Tries the packed file of one of the family's ends."""
        if not has_onnx():
            return
        self._step(f"{family}: exporting as ONNX")
        found = self._never or self._verdict(artifact)
        known = self.verdicts.get(family, SERVES)
        self.verdicts[family] = known if known.serves is False or found.serves else found

    def lines(self) -> Iterator[str]:
        """The verdicts, a line for each that differs."""
        return map(self._line, dict.fromkeys(self.verdicts.values()))

    def refusals(self) -> Iterator[str]:
        """The lines of families that have no ONNX files."""
        return (self._line(verdict) for verdict in dict.fromkeys(self.verdicts.values()) if verdict.serves is False)

    def _line(self, verdict: Verdict) -> str:
        families = [family for family, each in self.verdicts.items() if each == verdict]
        which = "every family" if len(families) == len(self.verdicts) else "; ".join(families)
        return f"ONNX, {which}: {verdict.words}"

    def _verdict(self, artifact: Artifact) -> Verdict:
        from lc_core.onnx.graph import ExportError

        try:
            return self._try(artifact)
        except Exception as error:  # it runs the user's code, which may raise anything
            said = " ".join(str(error).split())
            known = isinstance(error, ExportError | StructureError | ArtifactError)
            verdict = Verdict(False, f"only the packed file: {said if known else f'{type(error).__name__}: {said}'}")
            if isinstance(error, ExportError) and not self._traced:
                self._never = verdict
            return verdict

    def _try(self, artifact: Artifact) -> Verdict:
        """SERVES or NOT_TRIED. ExportError, StructureError, ArtifactError: the file does not serve."""
        from lc_core.onnx.build import filled, parity
        from lc_core.onnx.file import seal
        from lc_core.onnx.graph import open_graph

        example, inputs = self._inputs
        forward = self._study.forward
        running = restructured(artifact, self._model, example, spectral_from=None, forward=forward)
        shapes = {name: weight.shape for name, weight in running.weights.items()}

        def compare(graph: Any) -> None:
            parity(seal(filled(graph, running.weights), {}), artifact, self._model, inputs, forward=forward)

        for known, graph in self._traced:
            if known.keys() == shapes.keys():
                try:
                    compare(graph)
                    return SERVES
                except ArtifactError:
                    if known == shapes:
                        raise
        layers = sum(not list(module.children()) for module in self._model.modules())
        if layers > LARGE and not shapes.keys() <= self._model.state_dict().keys():
            return NOT_TRIED
        graph = open_graph(running.model.eval(), example, names=list(shapes), forward=forward)
        self._traced.append((shapes, graph))
        compare(graph)
        return SERVES

    @cached_property
    def _model(self) -> nn.Module:
        return self._study.seeded_model()

    @cached_property
    def _inputs(self) -> tuple[Nest, Nest]:
        """Two examples to trace a model with, and others to compare outputs on."""
        study, model, data = self._study, self._model, self._data
        return inputs_in_use(study, model, data.train, 2), inputs_in_use(study, model, data.val, EXAMPLES)
