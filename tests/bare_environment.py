"""Loads promoted models where sweeproute is not, and keeps what they say: run as a process of its own.

    python -I bare_environment.py ASKED.json

ASKED.json holds the store's address, and for each model its URI, a table of games and where its probabilities go. It
prints, as JSON, what of this project was imported, and what was unpickled, while they were loaded and asked.
"""

import importlib.abc
import json
import pickle
import sys
from pathlib import Path

ABSENT = ("sweeproute", "hydra_plugins", "submitit_ssh", "hydra", "omegaconf")


class Absent(importlib.abc.MetaPathFinder):
    """Finds none of what a bare environment lacks, though it is installed here."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}: this environment is bare")


def main(path: Path) -> None:
    asked = json.loads(path.read_text())
    sys.meta_path.insert(0, Absent())

    import mlflow
    import pandas as pd

    mlflow.set_tracking_uri(asked["uri"])
    unpickled: list[str] = []
    listening = True

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if event == "pickle.find_class" and listening:
            unpickled.append(".".join(map(str, arguments)))

    sys.addaudithook(hear)
    for one in asked["models"]:
        model = mlflow.pyfunc.load_model(one["model"])
        says = model.predict(pd.read_parquet(one["games"]))
        says.to_parquet(one["says"])
    listening = False
    # That the ear is not deaf.
    before = len(unpickled)
    listening = True
    pickle.loads(pickle.dumps(Path()))
    listening = False
    assert len(unpickled) > before
    del unpickled[before:]
    ours = sorted(name for name in sys.modules if name.partition(".")[0] in ABSENT)
    print(json.dumps({"imported": ours, "unpickled": unpickled}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
