"""Keeps a request with the sweep that answers it: what was asked, how it was understood, what was expected."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeproute.sweep_runs import SweepRuns

# In the sweep's folder, and among the artifacts of its own run.
FILE = "request.yaml"
_SAID = ("requested_by", "task")
# "4-6 hours (parallel)", "90 minutes sequential".
_LENGTH = re.compile(
    r"(?:(?P<low>\d+(?:\.\d+)?)\s*(?:-|–|to)\s*)?(?P<high>\d+(?:\.\d+)?)\s*(?P<unit>h|hours?|min|minutes?)\b"
    r"\s*\(?\s*(?P<how>parallel|sequential)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Kept:
    """What a report needs of a request."""

    # requested_by and task, as far as they were written.
    said: Mapping[str, str] = field(default_factory=dict)
    models: Sequence[str] = ()
    calibrations: Sequence[str] = ()
    deliverables: Sequence[str] = ()
    # How long it was expected to take, as it was written.
    estimate: str = ""

    def hours(self) -> Iterator[tuple[str, float, str]]:
        """What was expected of the time: parallel or sequential, the most seconds, and the words for it."""
        for found in _LENGTH.finditer(self.estimate):
            unit_s, unit = (3600, "hours") if found["unit"].lower().startswith("h") else (60, "minutes")
            aim = f"{found['low']} to {found['high']}" if found["low"] else found["high"]
            yield found["how"].lower(), float(found["high"]) * unit_s, f"{aim} {unit}"


def text(written: Mapping[str, Any], understood: Sequence[tuple[str, str, str]], command: Sequence[str]) -> str:
    """A request with its answers, as YAML.

    Args:
        written: The request.
        understood: Of each part its name, what stood there, what it means.
        command: The words of the command that it became.
    """
    import shlex

    import yaml

    told = {
        "request": dict(written),
        "understood": [{"part": part, "written": said, "meaning": meaning} for part, said, meaning in understood],
        "command": shlex.join(command),
    }
    return yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=1000)


def parse(content: str) -> Kept | None:
    """Read what `text` has made; None where it is something else."""
    import yaml

    try:
        written = yaml.safe_load(content)["request"]
        pairs = {
            str(key): value
            for part in ("context", "requirements")
            for one in _listed(written.get(part))
            if isinstance(one, Mapping)
            for key, value in one.items()
        }
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):
        return None
    return Kept(
        {name: str(pairs[name]) for name in _SAID if name in pairs},
        tuple(_words(pairs.get("models"))),
        tuple(_words(pairs.get("calibration"))),
        tuple(str(one) for one in _listed(written.get("expected_deliverables"))),
        str(written.get("resource_estimate") or ""),
    )


def read(sweep: "SweepRuns") -> Kept | None:
    """The request of a sweep, from the artifacts of its own run; None where it has none."""
    if sweep.run_id is None or not any(one.path == FILE for one in sweep.client.list_artifacts(sweep.run_id)):
        return None
    import tempfile

    with tempfile.TemporaryDirectory() as beside:
        path = Path(sweep.client.download_artifacts(sweep.run_id, FILE, beside))
        return parse(path.read_text(encoding="utf-8"))


def _listed(written: Any) -> list[Any]:
    return written if isinstance(written, list) else [] if written is None else [written]


def _words(written: Any) -> list[str]:
    if isinstance(written, str):
        return [one.strip() for one in written.split(",") if one.strip()]
    return [str(one) for one in _listed(written)]
