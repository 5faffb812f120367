"""The command `lcsweep`: its commands, one a file, and its exit codes.

Commands import heavy libraries inside their functions: `--help` and `status` load no torch, ray or pandas.
"""

import importlib.metadata
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from sweep.cli.bench import bench
from sweep.cli.check import check
from sweep.cli.compare import compare
from sweep.cli.console import DONE, ERROR, NOT_VERIFIED, USAGE, UsageError, fail
from sweep.cli.export import export
from sweep.cli.init import init
from sweep.cli.interruption import INTERRUPTED, SAID, asked
from sweep.cli.pick import pick
from sweep.cli.report import report
from sweep.cli.run import run
from sweep.cli.status import status
from sweep.cli.verify import verify
from sweep.target import BOUNDS, NoTargetError, TargetError

EXTRAS = {"onnx": "onnx", "onnxruntime": "onnx", "onnxscript": "onnx"}
"""Library -> the extra that installs it."""

CommandLineError: type[Any] = typer.BadParameter.__mro__[2]  # ClickException, which typer vendors and does not export

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Compress a trained PyTorch network in many ways at once, and find the smallest one that is accurate enough.",
    epilog="Exit codes: 0 done; 1 error; 2 wrong command line; 3 some jobs failed; 4 no model meets the target; "
    "5 a file failed verification; 130 interrupted.",
)
EXAMPLES: Mapping[Callable[..., int], tuple[str, ...]] = {
    init: ("lcsweep init my_study.py --dataset digits",),
    check: ("lcsweep check my_study.py",),
    run: (
        "lcsweep run studies.digits_mlp --dry-run",
        "lcsweep run studies.digits_mlp --method dc",
        "lcsweep run studies.digits_mlp --trials 8",
    ),
    status: ("lcsweep status runs/digits_mlp",),
    report: ("lcsweep report runs/digits_mlp --max-drop 0.02", "lcsweep report runs/digits_mlp --format md"),
    compare: ("lcsweep compare runs/digits_mlp:lc runs/digits_mlp:dc",),
    pick: ("lcsweep pick runs/digits_mlp --max-drop 0.02", "lcsweep pick runs/digits_mlp --knee"),
    export: (
        "lcsweep export runs/digits_mlp --out digits.lcz",
        "lcsweep export runs/digits_mlp --format onnx --out digits.onnx",
    ),
    verify: ("lcsweep verify digits.lcz --study studies.digits_mlp",),
    bench: ("lcsweep bench digits.lcz digits.onnx --study studies.digits_mlp",),
}
"""What --help shows of each command. Each line can be run after those before it, from an empty folder."""
for command, lines in EXAMPLES.items():
    app.command(epilog="\n\n".join(("Examples:" if len(lines) > 1 else "Example:", *lines)))(command)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        print(f"lcsweep {importlib.metadata.version('lcsweep')}")
        raise typer.Exit


@app.callback()
def lcsweep(
    version: Annotated[
        bool, typer.Option("--version", callback=lambda value: _print_version(wanted=value), is_eager=True)
    ] = False,
) -> None:
    """The options of `lcsweep` itself; --version has done its work by now."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code. An error that the user can act on is one line on standard error."""
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        code = app(args=given or ["--help"], standalone_mode=False, prog_name="lcsweep")
    except (UsageError, NoTargetError) as error:
        return fail(str(error), USAGE)
    except TargetError as error:
        names = rf"\b({'|'.join((*BOUNDS, 'relative'))})\b"
        said = re.sub(names, lambda name: f"--{name[0].replace('_', '-')}", str(error))
        return fail(said, USAGE)
    except CommandLineError as error:
        return fail(error.format_message().replace("Value error, ", ""), USAGE)
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        return fail(f"{error.name} is not installed; run pip install 'lcsweep[{EXTRAS[error.name]}]'", ERROR)
    except (ValueError, OSError) as error:
        if os.environ.get("LCSWEEP_DEBUG") or asked():
            raise
        return fail(_one_line(error), NOT_VERIFIED if _is_artifact_error(error) else ERROR)
    if code == INTERRUPTED:  # typer's answer to KeyboardInterrupt
        return fail(SAID, INTERRUPTED)
    return code if isinstance(code, int) else DONE


def _is_artifact_error(error: Exception) -> bool:
    artifact = sys.modules.get("lc_core.file.artifact")  # if it was never imported, it raised nothing
    return artifact is not None and isinstance(error, artifact.ArtifactError)


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    return " ".join(str(error).split())
