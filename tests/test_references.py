"""Plain references to Hydra's node resolve as OmegaConf resolves them, and the rest is left to it."""

import pytest
from omegaconf import OmegaConf

from hydra_plugins.sweeproute._references import resolve, substitute

CONFIG = OmegaConf.create(
    {
        "seed": 7,
        "hydra": {
            "job": {
                "num": 3,
                "id": "job_3",
                "name": "app",
                "override_dirname": "",
                "flag": True,
                "rate": 0.1,
                "no": None,
            },
            "runtime": {"output_dir": "/out/${hydra.job.num}"},
            "sweep": {"dir": "/out", "missing": "???"},
        },
    }
)


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "",
        "${hydra.job.num}",
        "${hydra.runtime.output_dir}/${hydra.job.name}.log",
        "${hydra.sweep.dir}/a-${hydra.job.override_dirname}-b",
        "${hydra.job.flag}/${hydra.job.rate}",
        "$dollar {brace}",
    ],
)
def test_a_reference_resolves_as_omegaconf_resolves_it(text):
    whole = OmegaConf.create({"text": text, "hydra": CONFIG.hydra})
    assert resolve(text, CONFIG) == str(whole.text)


@pytest.mark.parametrize(
    "text",
    [
        "${seed}",
        "${now:%Y}",
        "${hydra:job.num}",
        "${oc.env:HOME}/${hydra.job.num}",
        "${hydra.job.${seed}}",
        "${hydra.job.no}",
        "${hydra.job.nothing}",
        "${hydra.sweep.missing}",
        r"\${hydra.job.num}",
        "${.hydra.job.num}",
        "${hydra.job[num]}",
        "${hydra}",
    ],
)
def test_any_other_interpolation_is_left_to_omegaconf(text):
    assert resolve(text, CONFIG) is None


def test_values_may_come_from_anywhere():
    known = {"hydra.job.num": 5, "hydra.job.override_dirname": ""}
    assert substitute("${hydra.job.num}${hydra.job.override_dirname}", known.get) == "5"
    assert substitute("${hydra.job.name}", known.get) is None
    assert substitute("no reference", known.get) == "no reference"


def test_a_value_that_is_itself_an_interpolation_is_left_to_omegaconf():
    assert substitute("${hydra.job.override_dirname}", {"hydra.job.override_dirname": "x=${seed}"}.get) is None
