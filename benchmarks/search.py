"""Times 100 trials of uneven length on 4 slots, two of them slow: tpe under `search` beside other ways of running it.

A trial sleeps: lognormal, median 1 s, sigma 0.8, three times as long in a slow slot; the n-th trial of an order takes
as long whoever runs it. Wall times are of whole processes. The peers of a call have the same orders in turn:

- hydra-optuna-sweeper with hydra-joblib-launcher, in an environment of its own, made once in a folder: it launches four
  trials at a time and waits for the slowest. Asked of ours: half of its wall time at most.
- Plain Optuna: four processes at one study in a journal file. It knows no slow slots, so all are equal here. Asked of
  ours: within 5 %.

Idle is the share of the slots' time, from the first start to the last end, in which no attempt ran that counts, by the
launch records; asked are 8 % at most, in the median of the orders. A free slot's wait goes from an end to the next
start on the same platform. First comes what an ask with its tell costs in a study of 1,000 trials: asked are 20 ms.

    python benchmarks/search.py [--orders 20] [--peer-orders 3] [--scale 1.0] [--peer FOLDER]

All of it takes about 35 minutes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections import defaultdict
from pathlib import Path
from random import Random
from typing import Any

TRIALS, SLOTS, SLOWNESS = 100, 4, 3
MEDIAN_S, SIGMA = 1.0, 0.8
PEER = ("hydra-optuna-sweeper==1.4.0rc3", "hydra-joblib-launcher==1.4.0rc3")
KNOWN, PARAMETERS, ASKED = 1000, 10, 50

TASK = f'''"""What a trial does, whoever runs it."""
import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def slot(slow):
    """Hold the first free slot of {SLOTS}, and give how many times slower than a fast one it is."""
    for number in range({SLOTS}):
        held = os.open(f"slot{{number}}.lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(held)
            continue
        try:
            yield {SLOWNESS} if slow and number >= {SLOTS} // 2 else 1
        finally:
            os.close(held)
        return
    raise RuntimeError("more trials run than there are slots")


def trial(number, slowness, x, y):
    """Sleep as long as this trial does; its value."""
    time.sleep(slowness * float(Path("lengths.txt").read_text().split()[number]))
    return (x - 0.5) ** 2 + (y - 0.2) ** 2
'''
APP = '''"""A trial as a Hydra app."""
import hydra
from hydra.core.hydra_config import HydraConfig
from task import slot, trial


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg):
    """As slow as its platform says; as its slot is where there are no platforms."""
    number = HydraConfig.get().job.num
    if cfg.slowness is not None:
        return trial(number, cfg.slowness, cfg.x, cfg.y)
    with slot(True) as slowness:
        return trial(number, slowness, cfg.x, cfg.y)


if __name__ == "__main__":
    main()
'''
CONF = "x: 0.0\ny: 0.0\nmodel: sleeper\nslowness: null\n"
LAUNCHER = """defaults: [routed]
platforms:
  fast: {{max_concurrent_jobs: 2, backend: joblib, speed: {{sleeper: 1.0}}, overrides: [slowness=1]}}
  slow: {{max_concurrent_jobs: 2, backend: joblib, speed: {{sleeper: {speed}}}, overrides: [slowness={slowness}]}}
rules:
  - {{model_type: sleeper, route_to: fast, reason: it is faster}}
fields: {{model_type: model}}
sets: {{slowness: slowness}}
"""
PLAIN = f'''"""One of the processes that share a study."""
import sys

import optuna
from optuna.storages.journal import JournalFileBackend
from optuna.study import MaxTrialsCallback
from task import trial

optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.create_study(
    study_name="plain",
    storage=optuna.storages.JournalStorage(JournalFileBackend(sys.argv[1])),
    sampler=optuna.samplers.TPESampler(),
    load_if_exists=True,
)
study.optimize(
    lambda one: trial(one.number, 1, one.suggest_float("x", 0, 1), one.suggest_float("y", 0, 1)),
    callbacks=[MaxTrialsCallback({TRIALS}, states=None)],
)
'''
SPACE = ("x=interval(0,1)", "y=interval(0,1)")
OURS = ("hydra/sweeper=search", "hydra.sweeper.sampler=tpe", f"hydra.sweeper.n_trials={TRIALS}")
OPTUNA = (
    "hydra/sweeper=optuna", "hydra/launcher=joblib", f"hydra.sweeper.n_trials={TRIALS}",
    f"hydra.sweeper.n_jobs={SLOTS}", f"hydra.launcher.n_jobs={SLOTS}",
)  # fmt: skip

Record = dict[str, Any]


def write_app(folder: Path) -> None:
    """The app of ours and of Hydra's peer, and the script of plain Optuna."""
    launchers = folder / "conf" / "hydra" / "launcher"
    launchers.mkdir(parents=True)
    (folder / "task.py").write_text(TASK)
    (folder / "app.py").write_text(APP)
    (folder / "plain.py").write_text(PLAIN)
    (folder / "conf" / "config.yaml").write_text(CONF)
    (launchers / "uneven.yaml").write_text(LAUNCHER.format(speed=1 / SLOWNESS, slowness=SLOWNESS))
    (launchers / "even.yaml").write_text(LAUNCHER.format(speed=1.0, slowness=1))


def write_lengths(folder: Path, order: int, scale: float) -> None:
    """Seconds of each trial in a fast slot, a few more than there are: processes of a study may overshoot."""
    rng = Random(order)
    lengths = [scale * MEDIAN_S * rng.lognormvariate(0.0, SIGMA) for _ in range(TRIALS + SLOTS)]
    (folder / "lengths.txt").write_text("\n".join(map(repr, lengths)))


def make_peer(folder: Path) -> Path:
    """The Python of an environment that holds Hydra's peer; it needs another Hydra than ours."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--pre", *PEER], check=True, stderr=subprocess.DEVNULL)
    return python


def timed(folder: Path, *commands: list[str]) -> float:
    """Seconds of processes that run beside each other, from their start to the end of the last."""
    environment = os.environ | {"SWEEPROUTE_STATE": str(folder / f"state{time.monotonic_ns()}")}
    began = time.perf_counter()
    started = [subprocess.Popen(one, cwd=folder, env=environment, stdout=subprocess.DEVNULL) for one in commands]
    if sum(one.wait() != 0 for one in started):
        raise SystemExit(f"{commands[0]} failed in {folder}.")
    return time.perf_counter() - began


def run_ours(folder: Path, launcher: str, order: int) -> tuple[float, list[Record]]:
    """Wall time of a first search, without any history, and the records of all its attempts."""
    out = f"{launcher}{order}"
    words = [
        *SPACE,
        *OURS,
        f"hydra/launcher={launcher}",
        f"hydra.sweep.dir={out}",
        "hydra.sweep.subdir=${hydra.job.num}",
    ]
    seconds = timed(folder, [sys.executable, "app.py", "-m", "hydra.sweeper.direction=minimize", *words])
    records = [json.loads(path.read_text()) for path in (folder / out).rglob("launch.json")]
    if sum(one["current"] and one["state"] == "FINISHED" for one in records) != TRIALS:
        raise SystemExit(f"not all of {TRIALS} trials ended well in {folder / out}.")
    return seconds, records


def run_peer(folder: Path, python: Path, order: int) -> float:
    """Wall time of hydra-optuna-sweeper."""
    words = [*SPACE, *OPTUNA, "hydra.sweeper.direction=minimize", f"hydra.sweep.dir=peer{order}"]
    return timed(folder, [str(python), "app.py", "-m", *words])


def run_plain(folder: Path, order: int) -> float:
    """Wall time of plain Optuna."""
    return timed(folder, *[[sys.executable, "plain.py", f"plain{order}.log"] for _ in range(SLOTS)])


def idle(records: list[Record]) -> float:
    """Share of the slots' time in which nothing ran that counts, 0 to 1."""
    ran = [one for one in records if one["started_at"] is not None]
    span = max(one["ended_at"] for one in ran) - min(one["started_at"] for one in ran)
    busy = sum(one["ended_at"] - one["started_at"] for one in ran if one["current"])
    return float(1 - busy / (SLOTS * span))


def waits(records: list[Record]) -> list[float]:
    """Seconds that slots waited for their next trial, as long as any was to come."""
    found = []
    platforms = defaultdict(list)
    for one in records:
        platforms[one["platform"]].append(one)
    for ran in platforms.values():
        ends = sorted(one["ended_at"] for one in ran)
        # The first starts fill the slots; each later one takes the slot that has been free for longest.
        starts = sorted(one["started_at"] for one in ran)[SLOTS // 2 :]
        found += [start - end for end, start in zip(ends, starts, strict=False)]
    return found


def trial_costs(folder: Path) -> dict[str, list[float]]:
    """Milliseconds of an ask with its tell, ours and plain Optuna's, in studies of 1,000 trials."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    from hydra_plugins.sweeproute._dimension import Dimension
    from hydra_plugins.sweeproute._pruners import pruner
    from hydra_plugins.sweeproute._samplers import sampler
    from hydra_plugins.sweeproute._space import Space
    from hydra_plugins.sweeproute._study import Study
    from hydra_plugins.sweeproute._study_log import open_storage

    keys = [f"p{number}" for number in range(PARAMETERS)]
    dimensions = tuple(Dimension(key, None, 0.0, 1.0, None, log=False, whole=False) for key in keys)
    space = Space("", tuple(keys), (), dimensions, (), ())

    def ours(name: str, number: int) -> list[float]:
        study = Study.open(
            open_storage(folder / "ours.log"),
            "search",
            space,
            sampler(name, {}, space),
            pruner("none", {}),
            ["minimize"],
            0,
        )
        spent = []
        for _ in range(number):
            began = time.perf_counter()
            proposal = study.ask()
            assert proposal is not None
            study.tell(proposal.trial, [sum(float(str(value)) ** 2 for value in proposal.values.values())], "complete")
            spent.append((time.perf_counter() - began) * 1e3)
        return spent

    def plain(made: optuna.samplers.BaseSampler, number: int) -> list[float]:
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / "plain.log")))
        study = optuna.create_study(study_name="plain", storage=storage, sampler=made, load_if_exists=True)
        spent = []
        for _ in range(number):
            began = time.perf_counter()
            one = study.ask()
            study.tell(one, sum(one.suggest_float(key, 0, 1) ** 2 for key in keys))
            spent.append((time.perf_counter() - began) * 1e3)
        return spent

    ours("random", KNOWN)
    plain(optuna.samplers.RandomSampler(seed=0), KNOWN)
    return {"ours": ours("tpe", ASKED), "plain Optuna": plain(optuna.samplers.TPESampler(seed=0), ASKED)}


def listed(values: list[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)


def main() -> None:
    """Run the orders, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=20, help="on uneven slots, ours")
    parser.add_argument("--peer-orders", type=int, default=3, help="the first of them, for the peers too")
    parser.add_argument("--scale", type=float, default=1.0, help="shrinks the trials' seconds, for a try")
    parser.add_argument("--peer", type=Path, help="keeps the environment of hydra-optuna-sweeper, or has it")
    asked = parser.parse_args()
    uneven: list[tuple[float, list[Record]]] = []
    peer, even, plain = [], [], []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for who, spent in trial_costs(folder).items():
            said = f"{statistics.median(spent):.1f} ms, at worst {max(spent):.1f} ms"
            print(f"ask and tell among {KNOWN} trials of {PARAMETERS} parameters, tpe, {who}: {said}", flush=True)
        write_app(folder)
        python = make_peer((asked.peer or folder / "peer").absolute()) if asked.peer_orders else None
        for order in range(asked.orders):
            write_lengths(folder, order, asked.scale)
            uneven.append(run_ours(folder, "uneven", order))
            print(f"order {order}: {uneven[-1][0]:.1f} s, idle {idle(uneven[-1][1]):.1%}", flush=True)
            if python is not None and order < asked.peer_orders:
                peer.append(run_peer(folder, python, order))
                even.append(run_ours(folder, "even", order)[0])
                plain.append(run_plain(folder, order))
                said = f"; equal slots: {even[-1]:.1f} s, plain Optuna {plain[-1]:.1f} s"
                print(f"  hydra-optuna-sweeper: {peer[-1]:.1f} s{said}", flush=True)
    idles = [idle(records) for _, records in uneven]
    waited = [seconds for _, records in uneven for seconds in waits(records)]
    restarted = [len(records) - TRIALS for _, records in uneven]
    print(f"{TRIALS} trials on {SLOTS // 2} fast slots and {SLOTS // 2} slow ones, median of {asked.orders} orders:")
    wall_s = statistics.median(seconds for seconds, _ in uneven)
    print(f"  wall {wall_s:.1f} s, restarts {statistics.mean(restarted):.1f}")
    print(f"  idle {statistics.median(idles):.1%} (asked: 8 %), each: {listed(sorted(idles), '.1%')}")
    print(f"  a free slot waits {statistics.median(waited) * 1e3:.0f} ms, at worst {max(waited) * 1e3:.0f} ms")
    if peer:
        ratios = [ours / other for (ours, _), other in zip(uneven, peer, strict=False)]
        print(f"hydra-optuna-sweeper: ours over it {listed(ratios, '.2f')} (asked: 0.50)")
        ratios = [ours / other for ours, other in zip(even, plain, strict=True)]
        middle = f"median {statistics.median(ratios):.3f} (asked: 1.050)"
        print(f"plain Optuna, {SLOTS} processes, equal slots: ours over it {listed(ratios, '.3f')}, {middle}")


if __name__ == "__main__":
    main()
