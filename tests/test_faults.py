"""Whatever happens to a sweep over a far machine, it ends as if nothing had, and no job is lost or counted twice."""

from pathlib import Path

import pytest

from faults import FAULTS, Fault, Table, run, undisturbed
from sshd import skip_for
from workstation import Workstation, missing

JOBS = 40


@pytest.fixture(scope="module")
def expected() -> Table:
    skip_for(missing())
    return undisturbed(JOBS)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.in_suite], ids=lambda fault: fault.name)
def test_a_sweep_ends_as_if_nothing_had_happened(
    fault: Fault, workstation: Workstation, expected: Table, tmp_path: Path
) -> None:
    outcome = run(fault, workstation, expected, JOBS, fault.short_s, tmp_path)
    assert outcome.problems == [], outcome.output


@pytest.mark.parametrize("name", ["power off and on", "coordinator killed", "one after another"])
def test_a_search_goes_on_as_if_nothing_had_happened(
    name: str, workstation: Workstation, expected: Table, tmp_path: Path
) -> None:
    fault = next(fault for fault in FAULTS if fault.name == name)
    outcome = run(fault, workstation, expected, JOBS, fault.short_s, tmp_path, search=True)
    assert outcome.problems == [], outcome.output
