"""Says whether this machine has the R that tests of R's models need."""

import os

import pytest

from sweeproute.models import r_process


def or_skip() -> None:
    """Skip the test that asks where there is no R; fail it where the machine is said to have one."""
    why = r_process.missing()
    if why and os.environ.get("SWEEPROUTE_EXPECT_R") == "1":
        pytest.fail(f"SWEEPROUTE_EXPECT_R=1, and {why}")
    if why:
        pytest.skip(why)


def tidymodels_or_skip() -> None:
    """Skip the test that asks where R lacks parsnip or workflows: no package of Debian has them."""
    or_skip()
    lacks = [name for name in r_process.TIDYMODELS if name not in r_process.versions()]
    if lacks:
        pytest.skip(f"this R lacks {' and '.join(lacks)}: install.packages")
