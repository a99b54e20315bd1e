"""The numbers of a first option file fit the images, the machine and each other."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from paragon_plugin.errors import OptionError
from paragon_plugin.hosts.trainner_redux.first_file import option_file as redux_file
from paragon_plugin.nets.sizes import SIZES

pytestmark = pytest.mark.usefixtures("host")


def build(count: int = 20, side: int = 512, *, gpu: float | None = None, **wish: object) -> Any:
    from paragon_plugin.first_file.photographs import Machine, Photograph
    from paragon_plugin.first_file.plan import Wish, make_plan

    photos = [Photograph(f"{number:03}.jpg", side + 100, side) for number in range(count)]
    return make_plan(photos, Machine(gpu, cores=8, memory_gb=16.0), Wish(**wish))  # type: ignore[arg-type]


WISHES = {
    "scale": st.sampled_from([2, 3, 4, 8]),
    "recipe": st.sampled_from(["fidelity", "perceptual", "gan", "realesrgan"]),
    "size": st.sampled_from(list(SIZES)),
    "iterations": st.none() | st.integers(20, 1_000_000),
}


@given(
    count=st.integers(2, 300),
    side=st.integers(128, 4000),
    gpu=st.none() | st.floats(2, 80),
    wish=st.fixed_dictionaries(WISHES),
)
def test_the_numbers_fit_each_other(count: int, side: int, gpu: float | None, wish: dict[str, object]) -> None:
    from paragon_plugin.hosts.basicsr.first_file import option_file

    plan = build(count, side, gpu=gpu, **wish)
    assert not set(plan.training) & set(plan.validation)
    assert len(plan.training) + len(plan.validation) == count
    assert 1 <= len(plan.validation) <= max(10, count // 2)
    options = yaml.safe_load(option_file(plan, Path("my photos"), "run", file=Path("run.yml"), has_vgg=True))
    train, data, total = options["train"], options["datasets"]["train"], options["train"]["total_iter"]
    assert data["gt_size"] % options["scale"] == data["gt_size"] % 8 == 0
    assert data["gt_size"] <= side
    assert data["exclude"] == options["datasets"]["val"]["images"] == list(plan.validation)
    assert 0 < train["warmup_iter"] <= total / 10
    assert train["scheduler"]["periods"] == [total]
    assert 0 < train["scheduler"]["eta_min"] < train["optim_g"]["lr"]
    assert 1 / (1 - train["ema_decay"]) <= max(total / 10, 2)
    assert 0 < options["val"]["val_freq"] <= max(total / 4, 2)
    assert options["logger"]["save_checkpoint_freq"] <= total
    for loss in train["losses"]:
        assert loss.get("start_iter", 0) < total / 2
    if "queue_size" in options:
        assert options["queue_size"] % data["batch_size_per_gpu"] == 0
        assert data["gt_size"] == options["gt_size"] <= 400
    for_redux = yaml.safe_load(redux_file(plan, Path("images"), "run", file=Path("run.yml"), has_vgg=True))
    redux_train, redux_data = for_redux["train"], for_redux["datasets"]["train"]
    assert redux_data["lq_size"] * for_redux["scale"] == data["gt_size"]
    assert redux_data["batch_size_per_gpu"] == data["batch_size_per_gpu"]
    for key in ("total_iter", "warmup_iter", "ema_decay", "optim_g", "scheduler"):
        assert redux_train[key] == train[key]
    wanted = wish["iterations"]
    assert wanted is None or total == wanted


def test_the_same_input_gives_the_same_plan() -> None:
    assert build() == build()


def test_every_choice_says_why() -> None:
    from paragon_plugin.first_file.plan import Choice

    plan = build()
    choices = [value for value in vars(plan).values() if isinstance(value, Choice)]
    assert len(choices) >= 10
    assert all(choice.reason for choice in choices)


def test_small_and_broken_images_are_left_out_by_name() -> None:
    from paragon_plugin.first_file.photographs import Machine, Photograph
    from paragon_plugin.first_file.plan import Wish, make_plan
    from paragon_plugin.hosts.basicsr.first_file import option_file

    good = [Photograph(f"{number}.png", 300, 200) for number in range(4)]
    odd = [Photograph("small.png", 500, 20), Photograph("broken.png", 0, 0, "is cut off")]
    plan = make_plan([*good, *odd], Machine(), Wish())
    assert {photo.name for photo in plan.unusable} == {"small.png", "broken.png"}
    text = option_file(plan, Path("p"), "run", file=Path("run.yml"), has_vgg=False)
    assert {"small.png", "broken.png"} < set(yaml.safe_load(text)["datasets"]["train"]["exclude"])
    assert "is cut off" in text


@pytest.mark.parametrize("count", [0, 1])
def test_one_image_cannot_be_split(count: int) -> None:
    with pytest.raises(OptionError, match=rf"holds {count} image\(s\) that can be used"):
        build(count)


@pytest.mark.parametrize("recipe", ["perceptual", "gan", "realesrgan"])
def test_a_loss_without_its_weights_is_left_out_with_a_hint(recipe: str) -> None:
    from paragon_plugin.first_file.text import VGG
    from paragon_plugin.hosts.basicsr.first_file import option_file

    plan = build(recipe=recipe)
    for has in (False, True):
        text = option_file(plan, Path("p"), "run", file=Path("run.yml"), has_vgg=has)
        types = [loss["type"] for loss in yaml.safe_load(text)["train"]["losses"]]
        assert ("PerceptualLoss" in types) == has
        assert (VGG in text) != has


def test_names_in_all_letters_are_written_and_read_back() -> None:
    from paragon_plugin.first_file.photographs import Machine, Photograph
    from paragon_plugin.first_file.plan import Wish, make_plan
    from paragon_plugin.hosts.basicsr.first_file import option_file

    names = ["on", "naïve é.jpg", "a: b #c.png", '"quoted".png', "1.0", "日本/写真.png", "back\\slash.png"]
    plan = make_plan([Photograph(name, 400, 400) for name in sorted(names)], Machine(), Wish())
    options = yaml.safe_load(option_file(plan, Path("写真: 1"), "run", file=Path("run.yml"), has_vgg=False))
    assert options["datasets"]["train"]["dataroot_gt"] == "写真: 1"
    assert options["datasets"]["train"]["exclude"] == list(plan.validation)
