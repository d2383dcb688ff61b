"""The search space of one choice of groups: its points, its size, and what became of it."""

import dataclasses
import itertools
import json

import pytest

from hydra_plugins.sweeproute._constraint import Constraint
from hydra_plugins.sweeproute._dimension import Dimension
from hydra_plugins.sweeproute._errors import SettingsError
from hydra_plugins.sweeproute._space import Change, Space

DEPTH = Dimension("depth", low=1, high=3, whole=True)
LEAVES = Dimension("leaves", choices=("2", "4", "8"))
BOOSTER = Dimension("+booster", choices=("tree", "dart"))
DROP = Dimension("+drop", low=0.1, high=0.3, step=0.1, when=(("+booster", ("dart",)),))
RATE = Dimension("rate", low=0.01, high=0.3, log=True)
SEED = Dimension("seed", low=0, high=1, whole=True)


def space(*dimensions, constraints=(), repeats=(), fixed=(("model", "model=boosted"),), name=""):
    keys = [*(key for key, _ in fixed), *(one.key for one in dimensions), *(one.key for one in repeats)]
    return Space(name, tuple(keys), tuple(fixed), dimensions, tuple(map(Constraint, constraints)), tuple(repeats))


def listed(one):
    return [" ".join(point) for point in one.points()]


def test_points_are_crossed_with_the_last_axis_fastest():
    assert listed(space(DEPTH, LEAVES)) == [
        f"model=boosted depth={depth} leaves={leaves}" for depth in (1, 2, 3) for leaves in (2, 4, 8)
    ]


def test_repeats_stand_where_their_key_does():
    one = dataclasses.replace(space(LEAVES, repeats=[SEED]), order=("seed", "model", "leaves"))
    assert listed(one) == [f"seed={seed} model=boosted leaves={leaves}" for seed in (0, 1) for leaves in (2, 4, 8)]
    assert one.size() == 3
    assert one.times() == 2


def test_a_parameter_that_does_not_exist_in_a_point_is_left_out_and_each_point_is_there_once():
    one = space(DEPTH, BOOSTER, DROP)
    points = listed(one)
    assert points[:4] == [
        "model=boosted depth=1 +booster=tree",
        "model=boosted depth=1 +booster=dart +drop=0.1",
        "model=boosted depth=1 +booster=dart +drop=0.2",
        "model=boosted depth=1 +booster=dart +drop=0.3",
    ]
    assert len(points) == len(set(points)) == one.size() == 3 * (1 + 3)


def test_a_parameter_exists_only_where_the_one_that_it_depends_on_does():
    below = Dimension("skip", choices=("a", "b"), when=(("+drop", ("0.1", "0.2")),))
    one = space(BOOSTER, DROP, below)
    assert len(listed(one)) == one.size() == 1 + 2 * 2 + 1
    assert one.active({"+booster": "tree", "+drop": 0.1, "skip": "a"}) == (BOOSTER,)
    assert one.active({"+booster": "dart", "+drop": 0.3}) == (BOOSTER, DROP)
    assert one.overrides({"+booster": "tree", "+drop": 0.1, "skip": "a"}) == ("model=boosted", "+booster=tree")


def test_only_points_that_meet_all_constraints_are_listed_and_counted():
    one = space(DEPTH, LEAVES, constraints=["leaves <= 2 ** depth", "depth != 2"], repeats=[SEED])
    assert listed(one) == [
        f"model=boosted depth={depth} leaves={leaves} seed={seed}"
        for depth, leaves in [(1, 2), (3, 2), (3, 4), (3, 8)]
        for seed in (0, 1)
    ]
    assert one.size() == 4


def test_a_constraint_over_a_parameter_that_does_not_exist_holds():
    one = space(BOOSTER, DROP, constraints=["drop < 0.15"])
    assert one.allows({"+booster": "tree"})
    assert one.allows({"+booster": "dart", "+drop": 0.1})
    assert not one.allows({"+booster": "dart", "+drop": 0.2})
    assert one.allows({"+booster": "tree", "+drop": 0.2})
    assert one.size() == 2


def test_a_constraint_reads_what_is_fixed_and_passes_over_what_is_deleted():
    fixed = (("model", "model=boosted"), ("depth", "depth=2"), ("~rate", "~rate"))
    one = space(LEAVES, fixed=fixed, constraints=["leaves <= 2 ** depth", "rate < 0", "model == 'boosted'"])
    assert listed(one) == [f"model=boosted depth=2 ~rate leaves={leaves}" for leaves in (2, 4)]
    assert space(LEAVES, constraints=["model == 'other'"]).size() == 0


def test_a_constraint_that_cannot_be_told_is_an_error_for_people():
    with pytest.raises(SettingsError, match="cannot be told for leaves=2"):
        space(LEAVES, constraints=["leaves < 'x'"]).allows({"leaves": "2"})


def test_overrides_are_those_of_a_point_in_order():
    one = space(RATE, LEAVES, repeats=[SEED])
    values = {"leaves": "4", "rate": 0.1 + 0.2}
    assert one.overrides(values) == ("model=boosted", f"rate={0.1 + 0.2!r}", "leaves=4")
    assert one.overrides(values, {"seed": 1}) == ("model=boosted", f"rate={0.1 + 0.2!r}", "leaves=4", "seed=1")
    with pytest.raises(KeyError):
        one.overrides({"leaves": "4"})


def test_a_space_with_a_continuous_dimension_has_no_size_and_cannot_be_listed():
    assert space(DEPTH, RATE).size() is None
    for constraints in ((), ("depth < 2",)):
        with pytest.raises(ValueError, match="rate is continuous"):
            list(space(DEPTH, RATE, constraints=constraints).points())


def test_the_same_choice_twice_is_listed_twice_and_is_one_point_to_search():
    one = space(Dimension("seed", choices=("1", "1")))
    assert (len(listed(one)), one.size()) == (2, 1)


def test_a_size_counts_what_is_tied_alone_and_multiplies_the_rest():
    wide = [Dimension(f"x{n}", low=1, high=1000, whole=True) for n in range(4)]
    assert space(*wide).size() == 1000**4
    assert space(*wide, DEPTH, LEAVES, constraints=["leaves <= 2 ** depth"]).size() == 1000**4 * 6
    assert space(*wide, constraints=["x0 < x1 + x2"]).size() == 1000**4, "an upper bound over a million"


def test_a_space_is_kept_as_plain_data():
    one = space(DEPTH, RATE, BOOSTER, DROP, LEAVES, constraints=["depth < 3"], repeats=[SEED], name="model=boosted")
    again = Space.from_json(json.loads(json.dumps(one.to_json())))
    assert again == one
    assert again.change(one) == Change("same")


LATER = {
    "the same": ([DEPTH, LEAVES], "same", ""),
    "another order": ([dataclasses.replace(LEAVES, choices=("8", "2", "4")), DEPTH], "same", ""),
    "a step of one said aloud": ([dataclasses.replace(DEPTH, step=1), LEAVES], "same", ""),
    "more choices": (
        [DEPTH, dataclasses.replace(LEAVES, choices=("2", "4", "8", "16"))],
        "widened",
        "leaves was [2, 4, 8], is [2, 4, 8, 16]",
    ),
    "a wider range": (
        [dataclasses.replace(DEPTH, high=4), LEAVES],
        "widened",
        "depth was {low: 1, high: 3}, is {low: 1, high: 4}",
    ),
    "fewer choices": ([DEPTH, dataclasses.replace(LEAVES, choices=("2", "4"))], "incompatible", "is [2, 4]"),
    "a narrower range": ([dataclasses.replace(DEPTH, low=2), LEAVES], "incompatible", "is {low: 2, high: 3}"),
    "another kind": (
        [dataclasses.replace(DEPTH, low=1.0, high=3.0, whole=False), LEAVES],
        "incompatible",
        "is {low: 1.0, high: 3.0}",
    ),
    "another scale": ([dataclasses.replace(DEPTH, log=True), LEAVES], "incompatible", "log: true"),
    "a condition": (
        [DEPTH, dataclasses.replace(LEAVES, when=(("depth", ("1",)),))],
        "incompatible",
        "when: {depth: 1}",
    ),
    "one gone": ([DEPTH], "incompatible", "leaves is no longer searched"),
    "one new": ([DEPTH, LEAVES, RATE], "incompatible", "rate is newly searched"),
}


@pytest.mark.parametrize("case", LATER)
def test_what_became_of_the_dimensions_is_told(case):
    dimensions, kind, said = LATER[case]
    change = space(DEPTH, LEAVES).change(space(*dimensions))
    assert change.kind == kind
    assert said in change.text if said else change.text == ""


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (Dimension("a", low=0.0, high=1.0, step=0.5), Dimension("a", low=0.0, high=1.0, step=0.25), "widened"),
        (Dimension("a", low=0.0, high=1.0, step=0.5), Dimension("a", low=0.0, high=1.0), "widened"),
        (Dimension("a", low=0.0, high=1.0, step=0.25), Dimension("a", low=0.0, high=1.0, step=0.5), "incompatible"),
        (Dimension("a", low=0.0, high=0.6, step=0.3), Dimension("a", low=0.0, high=0.6, step=0.2), "incompatible"),
    ],
)
def test_a_finer_step_widens(before, after, kind):
    assert space(before).change(space(after)).kind == kind


def test_what_became_of_constraints_repeats_and_fixed_keys_is_told():
    bound = space(DEPTH, constraints=["depth<3"])
    assert bound.change(space(DEPTH, constraints=["depth < 3"])) == Change("same")
    assert bound.change(space(DEPTH)) == Change("widened", "the constraint depth<3 is gone")
    assert space(DEPTH).change(bound) == Change("incompatible", "the constraint depth<3 is new")
    repeated = space(DEPTH, repeats=[SEED])
    more = space(DEPTH, repeats=[dataclasses.replace(SEED, high=4)])
    # What is done would never run under the new seeds.
    assert repeated.change(more) == Change("incompatible", "seed was {low: 0, high: 1}, is {low: 0, high: 4}")
    assert more.change(repeated).kind == "incompatible"
    assert repeated.change(space(DEPTH)) == Change("incompatible", "seed is no longer repeated")
    other = space(DEPTH, fixed=[("model", "model=line"), ("seed", "seed=1")])
    told = space(DEPTH).change(other)
    assert told.kind == "incompatible"
    assert "model was model=boosted, and is model=line; seed was not set, and is seed=1" in told.text
    fixed = space(LEAVES, fixed=[("model", "model=boosted"), ("depth", "depth=1")])
    assert space(DEPTH, LEAVES).change(fixed) == Change("incompatible", "depth is no longer searched")


def test_differences_are_told_in_the_order_of_the_space():
    narrow = [Dimension(f"key{n}", low=0, high=1, whole=True) for n in range(12)]
    told = space(*narrow).change(space(*[dataclasses.replace(one, high=2) for one in narrow]))
    assert told.kind == "widened"
    assert [said.partition(" ")[0] for said in told.text.split("; ")] == [f"key{n}" for n in range(12)]


def test_the_space_of_another_choice_is_another_space():
    assert space(DEPTH, name="model=a").change(space(DEPTH, name="model=b")).kind == "incompatible"


def test_what_widens_leaves_every_point_of_before():
    values = [(low, high, step) for low, high in itertools.combinations(range(5), 2) for step in (1, 2, 3)]
    spaces = [
        space(Dimension("a", low=low, high=high, step=step, whole=True))
        for low, high, step in values
        if (high - low) % step == 0
    ]
    for one, other in itertools.product(spaces, spaces):
        before, after = set(one.points()), set(other.points())
        kind = "same" if before == after else "widened" if before < after else "incompatible"
        assert one.change(other).kind == kind, (one, other)


def test_a_point_of_many_dimensions_takes_its_overrides_from_its_values():
    many = [Dimension(f"k{n}", low=0.0, high=1.0) for n in range(20)]
    values = {one.key: 1 / (n + 3) for n, one in enumerate(many)}
    overrides = space(*many).overrides(values)
    assert [float(text.partition("=")[2]) for text in overrides[1:]] == list(values.values())
