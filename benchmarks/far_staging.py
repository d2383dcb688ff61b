"""Times how long a data set of 100 MB and the code take to be brought to a far machine that has them already.

The far machine is the tests' workstation, in network namespaces: Linux and root are needed. Each time is that of a new
process whose channel is open: finding the project's files, knowing both contents by their hashes, asking whether they
are there. A file that has not changed since its hash was taken is not read again. Asked: 0.3 s.

    python benchmarks/far_staging.py [--repeats 5]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import workstation
from workstation import Workstation

ROOT = Path(__file__).resolve().parents[1]
MEGABYTES = 100
PACKAGES = ("hydra_plugins.sweeproute", "sweeproute", "submitit_ssh")


class Silent:
    """Listens to a machine, and does nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def stage(config: str, data: Path, cache: Path) -> None:
    """Bring both over, and print how long that took; the child process."""
    from submitit_ssh.machine import Machine
    from submitit_ssh.ssh import Settings
    from submitit_ssh.staging import Code, file

    os.chdir(ROOT)
    machine = Machine(Settings(Workstation.host, config), "staging", Silent())
    machine.open()
    machine.wait_up(60)
    began = time.perf_counter()
    code = Code.collect(ROOT, PACKAGES, cache=cache)
    machine.stage([code.staged(), file(data, cache)]).result(600)
    print(time.perf_counter() - began, code.files, code.size)
    machine.close()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        stage(asked.child[0], Path(asked.child[1]), Path(asked.child[2]))
        return
    if workstation.missing():
        raise SystemExit(f"This needs the tests' workstation: {workstation.missing()}.")
    with Workstation.start() as box, tempfile.TemporaryDirectory() as name:
        data = Path(name) / "games.csv"
        data.write_bytes(os.urandom(MEGABYTES * 10**6))
        command = [sys.executable, __file__, "--child", str(box.ssh_config), str(data), f"{name}/cache"]
        said = [
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
            for _ in range(1 + asked.repeats)
        ]
    first, *again = (float(words[0]) for words in said)
    print(f"{MEGABYTES} MB of data, {said[0][1]} files of code ({int(said[0][2]) / 1e6:.1f} MB as a tar)")
    print(
        f"first: {first:.2f} s; again: median {statistics.median(again):.3f} s, worst {max(again):.3f} s (asked: 0.3)"
    )


if __name__ == "__main__":
    main()
