"""Studies of other metrics than the accuracy."""

from tests.sweep.tiny import changed

DATA = """    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(300, 8, generator=generator)
    targets = 10 * torch.tanh(inputs[:, :3].sum(dim=1)) + torch.randn(300, generator=generator)
    parts = torch.arange(300).split([120, 90, 90])
    return Data(*(Split(inputs[part].clone(), targets[part].clone()) for part in parts))
"""


def regression(metric: str = 'mse("mm2")', *, name: str = "mse", target: str = "at_most=30.0") -> str:
    """A network with one output, scored by `metric`, which is called `name`."""
    text = changed("nn.Linear(64, 3)", "nn.Linear(64, 1)")
    begin, end = text.index("    generator ="), text.index("\n\ndef loss")
    text = f"{text[:begin]}{DATA}{text[end:]}"
    text = changed(
        "nn.functional.cross_entropy(outputs, targets)", "(outputs[:, 0] - targets).square().mean()", text=text
    )
    text = changed("lr=0.1", "lr=0.01", text=text)
    text = changed("Target(max_drop=0.05)", f"Target({target})", text=text)
    begin = text.index('        Family("both"')  # its sizes do not fall with its levels where the head has one output
    text = text[:begin] + text[text.index("\n", begin) + 1 :]
    return with_metric(text, metric, name=name)


def with_metric(text: str, metric: str, *, name: str) -> str:
    """The study in `text`, scored by `metric`."""
    text = changed('    name="tiny",\n', f'    name="tiny",\n    metrics={{"{name}": {metric}}},\n', text=text)
    imports = "from sweep.study.metrics import auroc, f1, mean_iou, mse, r2, top_k"
    return changed(
        "from sweep.study import", f"{imports}\nfrom sweep.study import Measure\nfrom sweep.study import", text=text
    )
