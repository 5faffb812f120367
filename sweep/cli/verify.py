"""`lcsweep verify`: checks a model's file."""

import os
from pathlib import Path
from typing import Annotated

import typer

from sweep.cli import file_text
from sweep.cli.console import DONE, DataFolder, Json, check_file, show, use_data


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A packed model (.lcz) or an exported ONNX file.")],
    study: Annotated[
        str | None, typer.Option(metavar="STUDY", help="Verify the model's outputs too, with this study.")
    ] = None,
    data: DataFolder = None,
    as_json: Json = False,
) -> int:
    """Verify a packed model, or an ONNX file that was made of one.

    Checks its size, hash and decoding; with --study, the outputs too. Runs no code that the file names.
    """
    check_file(file, expected="a packed model, such as lcsweep export writes")
    use_data(data)
    if file.suffix == ".onnx":
        from sweep.pick import export

        facts = export.verify_onnx(file, study_reference=study, user_folder=os.getcwd())
        words = file_text.onnx_file(facts)
    else:
        from sweep.pick import verify

        facts = verify.verify(file, study_reference=study, user_folder=os.getcwd())
        words = file_text.packed_file(facts)
    show(facts, words, as_json=as_json)
    return DONE
