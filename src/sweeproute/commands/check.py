"""`sweeproute check`: whether a platform over ssh can run jobs, and what to do where it cannot."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sweeproute.commands import Commands

if TYPE_CHECKING:
    from hydra_plugins.sweeproute._findings import Finding


def add(commands: Commands) -> None:
    """Add the command's words."""
    check = commands.add_parser("check", help="whether a platform over ssh can run jobs, and the next step if not")
    check.add_argument("platform", metavar="PLATFORM", help="its name in the registry")
    check.add_argument("--json", action="store_true", help="all findings at the end, for a program")
    check.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="as in registry.platforms.remote_4090.host=me@box"
    )
    check.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Print what is found, each thing as it is found; exit with 1 where something keeps jobs from running."""
    # lazy import: as in every command, so that --help answers at once
    from hydra_plugins.sweeproute import _check
    from sweeproute.commands import composing, hardware

    entry = hardware.far_platform(asked.platform, composing.registry(asked.overrides))
    show(asked.platform, _check.check(asked.platform, entry, note), asked.json)


def note(text: str) -> None:
    """Say what the person waits for, beside what was asked."""
    print(text, file=sys.stderr, flush=True)


def show(platform: str, findings: "Iterable[Finding]", as_json: bool = False) -> None:
    """Print findings as they come.

    Args:
        platform: Whose they are.
        findings: The findings.
        as_json: Print one JSON object at the end instead.

    Raises:
        SystemExit: With 1, where one of them is bad.
    """
    seen = []
    step = ""
    for finding in findings:
        seen.append(finding)
        if not as_json:
            print(f"{'ok' if finding.ok else '--'}  {finding.what}: {finding.said}", flush=True)
            # What one step mends is often found in several places.
            if finding.step and finding.step != step:
                print(f"      {finding.step}", flush=True)
            step = finding.step or step
    wrong = list(dict.fromkeys(finding.what for finding in seen if not finding.ok))
    ok = not wrong
    if as_json:
        print(json.dumps({"platform": platform, "ok": ok, "findings": list(map(dataclasses.asdict, seen))}))
    else:
        print(f"{platform} is ready." if ok else f"To mend at {platform}: {', '.join(wrong)}.")
    if not ok:
        sys.exit(1)
