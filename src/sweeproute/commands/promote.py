"""`sweeproute promote`: a run's model as a version of a registered model, with an alias if it is better."""

import argparse

from sweeproute.commands import Commands


def add(commands: Commands) -> None:
    """Add the command's words."""
    promote = commands.add_parser("promote", help="register a run's model, and make it champion if it is better")
    promote.add_argument("which", metavar="RUN", help="a run's id or its first characters, or a SWEEP: what that chose")
    promote.add_argument("--name", required=True, help="the registered model's, as in nfl-win")
    promote.add_argument("--alias", default="champion", help="what the version is to be called (default: %(default)s)")
    promote.add_argument(
        "--force", action="store_true", help="move the alias also to a run that is not significantly better"
    )
    promote.add_argument("--uri", help="the tracking store; the sweep's own when left out")
    promote.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Promote a run, and say what came of it; exit code 1 where the alias stays where it was."""
    # lazy import: as in every command, so that --help answers at once
    from sweeproute.errors import fail_at_end
    from sweeproute.promotion import promote

    found = promote(asked.which, asked.name, asked.alias, force=asked.force, uri=asked.uri)
    before = "" if found.made else ", which was there already,"
    print(f"{found.name} version {found.version}{before} {'is' if found.holds else 'is not'} {found.alias}.")
    for sentence in found.said:
        print(sentence)
    if not found.holds:
        print(f"{found.alias.capitalize()} stays who it was; --force moves the alias all the same, and records that.")
        fail_at_end()
        return
    address = f"models:/{found.name}@{found.alias}"
    print(f"  mlflow.pyfunc.load_model({address!r})")
    print(f"  mlflow models serve -m {address} --env-manager local")
    print(f"  sweeproute predict --model {found.name}@{found.alias} data=nfl data.path=games.csv")
