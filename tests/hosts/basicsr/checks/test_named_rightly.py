"""The line names the right thing: images in sub-folders, foreign files, lists, levels, lines of a file."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training_parts import paired_folders

from paragon_plugin.errors import OptionError

pytestmark = pytest.mark.usefixtures("host")

Options = Callable[..., Path]
Checked = Callable[[Path], Any]


@pytest.fixture
def folders(image_folders: Path, tmp_path: Path) -> Path:
    """`HR` and `LR` with four pairs of scale 2."""
    shutil.copytree(image_folders / "HR", tmp_path / "HR")
    shutil.copytree(image_folders / "LR2", tmp_path / "LR")
    return tmp_path


def told(lines: list[str], severity: str = "error") -> list[str]:
    return [line.removeprefix(f"{severity}: ") for line in lines if line.startswith(f"{severity}: ")]


def move_down(folder: Path, *names: str) -> None:
    for name in names or [path.name for path in folder.iterdir()]:
        target = folder / name[0]
        target.mkdir(exist_ok=True)
        (folder / name).rename(target / name)


@pytest.mark.parametrize("part", ["train", "val"])
def test_images_in_sub_folders_are_told_of(checked: Checked, short_options: Options, folders: Path, part: str) -> None:
    move_down(folders / "HR")
    move_down(folders / "LR")
    status, lines = checked(short_options(**paired_folders(folders, part)))
    assert status == 2
    roots = [f"datasets.{part}.dataroot_{key}" for key in ("gt", "lq")]
    assert [line.partition(": ")[0] for line in told(lines)] == roots
    assert f"the images are in 3 sub-folders of {folders}/HR (a, c, r), and none in the folder itself" in told(lines)[0]


def test_images_beside_sub_folders_are_told_of(checked: Checked, short_options: Options, folders: Path) -> None:
    for part in ("HR", "LR"):
        move_down(folders / part, "rocket.png")
    status, lines = checked(short_options(**paired_folders(folders)))
    assert status == 0
    assert f"images in 1 sub-folder of {folders}/HR (r) are not used" in told(lines, "warning")[0]


@pytest.mark.parametrize("places", [("HR",), ("HR", "LR")])
def test_a_file_that_is_no_image_is_named(
    checked: Checked, short_options: Options, folders: Path, places: tuple[str, ...]
) -> None:
    for place in places:
        (folders / place / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    status, lines = checked(short_options(**paired_folders(folders, "train")))
    assert status == 2
    assert len(told(lines)) == len(places)
    for line in told(lines):
        assert "holds what is no image: 1 file (Thumbs.db)" in line


LIST = "\ufeffmy photo.png (192,256,3)\n\ncoffee.png (192,256,3)\r\nchelsea.png\n   \n"


def named_paths(dataset: Any) -> list[str]:
    paths = [path if isinstance(path, str) else path["gt_path"] for path in dataset.paths]
    return [Path(path).name for path in paths]


def test_a_list_is_read_as_people_write_it(
    checked: Checked, train_here: Callable[..., Any], short_options: Options, folders: Path
) -> None:
    from basicsr.data import build_dataset

    for part in ("HR", "LR"):
        (folders / part / "astronaut.png").rename(folders / part / "my photo.png")
    file = folders / "list.txt"
    file.write_text(LIST, encoding="utf-8")
    options = {**paired_folders(folders, "train"), "datasets__train__meta_info_file": str(file)}
    status, lines = checked(short_options(**options))
    assert (status, told(lines)) == (0, [])
    assert train_here(**options).iteration == 4
    expected = ["my photo.png", "coffee.png", "chelsea.png"]
    paired = {"phase": "train", "scale": 2, "io_backend": {"type": "disk"}, "name": "T"}
    paired |= {"dataroot_gt": str(folders / "HR"), "dataroot_lq": str(folders / "LR")}
    assert named_paths(build_dataset({**paired, "type": "PairedImageDataset", "meta_info_file": str(file)})) == expected
    assert named_paths(build_dataset({**paired, "type": "SingleImageDataset", "meta_info_file": str(file)})) == expected
    pairs = folders / "pairs.txt"
    pairs.write_text("\ufeffmy photo.png, my photo.png\n\ncoffee.png,coffee.png\nchelsea.png, chelsea.png\n", "utf-8")
    pair_set = build_dataset({**paired, "type": "RealESRGANPairedDataset", "meta_info": str(pairs)})
    assert named_paths(pair_set) == expected
    assert [Path(path["lq_path"]).name for path in pair_set.paths] == expected


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("0001_s001.png (480,480,3)", "0001_s001.png"),
        ("sub/0001.PNG", "sub/0001.PNG"),
        ("a b (1).jpg (1,2,3)", "a b (1).jpg"),
        ("a.png.jpg 3", "a.png.jpg"),
        ("data.raw 3", "data.raw"),
    ],
)
def test_the_name_in_a_line(line: str, name: str) -> None:
    from paragon_plugin.hosts.basicsr.options.meta_info import first_name

    assert first_name(line) == name


@pytest.mark.parametrize("key", ["train", "val"])
def test_a_database_that_is_none_is_named_with_its_set(
    checked: Checked, short_options: Options, folders: Path, key: str
) -> None:
    from paragon_plugin.hosts.basicsr.options.file import argument_parser
    from paragon_plugin.hosts.basicsr.run.training import train

    options = {**paired_folders(folders, key), f"datasets__{key}__io_backend": {"type": "lmdb"}}
    file = short_options(**options)
    status, lines = checked(file)
    assert status == 2
    (line,) = told(lines)
    assert line.startswith(f"datasets.{key}: ")
    assert "lmdb" in line
    with pytest.raises(OptionError) as refusal:
        train(argument_parser().parse_args(["-opt", str(file)]), str(folders))
    assert str(refusal.value) == line


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (
            "datasets__train__gt_usm",
            True,
            "datasets.train.gt_usm: nothing reads it here; it belongs at",
        ),
        ("train__gt_usm", True, "train.gt_usm: nothing reads it here; it belongs at the top of the file"),
        ("ema_decay", 0.9, "ema_decay: nothing reads it here; it belongs under 'train:'"),
        ("train__print_freq", 5, "train.print_freq: nothing reads it here; it belongs under 'logger:'"),
        ("logger__save_checkpoint_frequency", 5, "logger.save_checkpoint_frequency: unknown option"),
        ("logger__keep_latest", 5, "logger.keep_latest: unknown option; did you mean 'keep_last'?"),
        ("logger__checkpoint_freq", 5, "unknown option; nothing reads it; did you mean 'save_checkpoint_freq'?"),
    ],
)
def test_an_option_at_the_wrong_place_is_sent_to_the_right_one(
    checked: Checked, short_options: Options, place: str, value: Any, words: str
) -> None:
    _, lines = checked(short_options(**{"logger__save_checkpoint_freq": ..., place: value}))
    found = [line for line in lines if words in line]
    assert len(found) == 1, lines


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("name: a\nscale 2\nx: 1\n", 2),
        ("train:\n  a: 1\n  total_iter 5\n  b: 2\n", 3),
        ("name: a\nbetas: [0.9, 0.99\nx: 1\n", 2),
        ('name: a\nfoo: "abc\nx: 1\ny: 2\n', 2),
        ("name: a\nb: {x: 1\n", 2),
        ("name: a\ntrain:\n\tx: 1\n", 3),
        ("name: a\nscale: 2: 3\nx: 1\n", 2),
        ("name: a\nscale: 2\n  y: 2\n", 3),
    ],
)
def test_the_line_of_a_file_that_is_no_yaml(tmp_path: Path, text: str, number: int) -> None:
    from paragon_plugin.hosts.basicsr.options.file import read_option_file

    file = tmp_path / "options.yml"
    file.write_text(text)
    with pytest.raises(OptionError, match=rf"options\.yml, line {number}: "):
        read_option_file(file)
