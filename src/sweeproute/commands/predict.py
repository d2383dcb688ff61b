"""`sweeproute predict`: probabilities of the games that are not played yet, or stakes on them."""

import argparse
import sys

from sweeproute.commands import Commands


def add(commands: Commands) -> None:
    """Add the command's words."""
    predict = commands.add_parser("predict", help="probabilities of games that are not played yet, or stakes on them")
    predict.add_argument("--sweep", default="last", help="whose best configuration predicts (default: %(default)s)")
    predict.add_argument("--metric", help="what decides which is the best (default: what the sweep was told, else auc)")
    predict.add_argument("--model", help="a registered model instead, as it is: NAME@ALIAS or NAME/VERSION")
    predict.add_argument("--csv", action="store_true", help="comma-separated values instead of a table")
    predict.add_argument("overrides", nargs="*", metavar="OVERRIDE", help="as in data.path=games.csv")
    predict.set_defaults(run=run)


def run(asked: argparse.Namespace) -> None:
    """Print a probability, or a stake, for each game to come."""
    from sweeproute.prediction import predict_upcoming

    table, how = predict_upcoming(asked.sweep, asked.metric, asked.overrides, asked.model)
    print(table.to_csv(index=False) if asked.csv else table.to_string(index=False))
    print(how, file=sys.stderr)
