"""Runs a small Hydra app that lies in a folder of its own, as a person would."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class AppFolder:
    """The app in a folder of its own, with the state of its sweeps.

    Args:
        folder: Where it is written.
        app: Its script.
        conf: Its configuration, by path.
    """

    def __init__(self, folder: Path, app: str, conf: Mapping[str, str]) -> None:
        self.folder = folder
        (folder / "app.py").write_text(app)
        for name, text in conf.items():
            path = folder / "conf" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.environment = os.environ | {"SWEEPROUTE_STATE": str(folder / "state")}

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a sweep."""
        return subprocess.Popen(
            [sys.executable, "app.py", "-m", *words],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def sweep(self, *words: str, code: int = 0) -> str:
        """Run a sweep to its end; what it said."""
        process = self.start(*words)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == code, output
        return output

    def record(self) -> dict[str, Any]:
        """The sweep's own record."""
        found: dict[str, Any] = json.loads((self.folder / "out" / ".sweeproute" / "sweep.json").read_text())
        return found
