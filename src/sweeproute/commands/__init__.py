"""The commands of `sweeproute COMMAND`, a module each: `add` names its words, `run` does it."""

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
