"""What the user of a study should know before anything is run, a line each."""

from collections.abc import Iterator, Mapping

from sweep.prepare.check import Checked
from sweep.prepare.check_batch import some
from sweep.store.coverage import LISTED, DenseParameter, FamilyCoverage
from sweep.store.job import label


def notes(checked: Checked) -> list[str]:
    """What lcsweep does to a study without being asked."""
    return [*_folded(checked.folded), *_too_small(checked), *_out_of_order(checked)]


def family_coverage(checked: Checked) -> dict[str, FamilyCoverage]:
    """What each family governs, and the largest parameters that it leaves dense."""
    found = {}
    for each in checked.families:
        left = each.coverage.left()
        dense = [DenseParameter(name=one.name, share=one.share, why=str(one.why)) for one in left[:LISTED]]
        others = len(left) - len(dense)
        found[each.family] = FamilyCoverage(share=each.coverage.share, dense=dense, others=others)
    return found


def _folded(folded: Mapping[str, str]) -> Iterator[str]:
    """The weights that were computed from others, a line for each way."""
    for by in dict.fromkeys(folded.values()):
        names = [name for name, each in folded.items() if each == by]
        what = "a plain parameter" if len(names) == 1 else "plain parameters"
        yield f"{some(names)}: computed by {by}; folded into {what}"


def _too_small(checked: Checked) -> Iterator[str]:
    """The layers that a family's loosest level leaves out, since they have fewer weights than its codebook values."""
    for each in checked.families:
        names = [one.name for one in each.coverage.parameters if one.why == "too small"]
        if names:
            stay = "stays" if len(names) == 1 else "stay"
            why = "fewer weights than the codebook has values"
            yield f"{each.family}, {label(each.loosest)}: {some(names)} {stay} dense, with {why}"


def _out_of_order(checked: Checked) -> Iterator[str]:
    """The families whose first configuration, which should be the loosest, has the smaller file."""
    for each in checked.families:
        first, last = each.bytes
        if first < last:
            yield (
                f"{each.family}: {label(each.loosest)} takes {first:,} bytes and {label(each.tightest)} {last:,}; list "
                "levels from the loosest to the tightest, since searches go by their order"
            )
