"""`sweeproute setup`: makes the Python environment in which a platform over ssh runs jobs."""

import argparse
import sys

from sweeproute.commands import Commands


def add(commands: Commands) -> None:
    """Add the command's words."""
    setup = commands.add_parser("setup", help="make the environment of a platform over ssh, then check it")
    setup.add_argument("platform", metavar="PLATFORM", help="its name in the registry")
    setup.add_argument(
        "--python", metavar="PATH", help="over there: an environment to use as it is, or a Python to make one with"
    )
    setup.add_argument(
        "--pip", metavar="ARGS", default="", help="more arguments for pip, as in --pip='--pre torch==2.9.0'"
    )
    setup.add_argument(
        "overrides", nargs="*", metavar="OVERRIDE", help="as in registry.platforms.remote_4090.host=me@box"
    )
    setup.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Make it, with what pip says as it says it, then print what a check finds of it."""
    from hydra_plugins.sweeproute import _setup
    from sweeproute.commands import composing, hardware
    from sweeproute.commands.check import note, show

    def said(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    entry = hardware.far_platform(asked.platform, composing.registry(asked.overrides))
    show(asked.platform, _setup.setup(asked.platform, entry, said, note, asked.python, asked.pip))
