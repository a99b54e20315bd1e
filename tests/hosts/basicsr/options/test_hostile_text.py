"""Text of an option file that becomes a path, and files that are small and stand for much."""

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from training_parts import options_of

from paragon_plugin.errors import OptionError
from paragon_plugin.hosts.basicsr.options.file import MAX_BYTES, OptionLoader, apply_overrides, read_option_file
from paragon_plugin.hosts.basicsr.options.metrics import complete_directions
from paragon_plugin.hosts.basicsr.options.problems import Problems
from paragon_plugin.hosts.run_reading import find_run

pytestmark = pytest.mark.usefixtures("host")

Options = Callable[..., Path]

NO_NAMES = ("../../../OUT", "/tmp/x", "a/b", "..", ".", "a\nb", "a\0b", "é" * 120, "x" * 201, "a/", "\x7f", "\u202eb")

PARTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "name": lambda value: {"name": value},
    "datasets.val.name": lambda value: {"datasets__val__name": value},
    "datasets.train.name": lambda value: {"datasets__train__name": value},
    "val.suffix": lambda value: {"val__suffix": value},
    "val.metrics": lambda value: {"val__metrics": {value: {"type": "calculate_psnr", "crop_border": 2}}},
}
"""Every option of which a file's or a folder's name is made."""


@pytest.mark.parametrize("part", PARTS)
def test_what_becomes_part_of_a_path_is_one_name(short_options: Options, tmp_path: Path, part: str) -> None:
    for value in NO_NAMES:
        with pytest.raises(OptionError, match=f"^{part}.*becomes part of a path"):
            options_of(short_options(**PARTS[part](value)), tmp_path)
    for value in ("é" * 100, "a b", "naïve.x-1", "日本", ".hidden", "x" * 200):
        options_of(short_options(**PARTS[part](value)), tmp_path)
    if part not in ("val.metrics", "val.suffix"):
        for value in ("", 5, None, [], {}):
            with pytest.raises(OptionError, match=f"^{part}"):
                options_of(short_options(**PARTS[part](value)), tmp_path)


@pytest.mark.parametrize(
    "option",
    ["datasets__train__dataroot_gt", "datasets__val__dataroot_lq", "path__pretrain_network_g", "path__resume_state"],
)
def test_the_home_of_nobody_is_one_line(short_options: Options, tmp_path: Path, option: str) -> None:
    path = option.replace("__", ".")
    with pytest.raises(OptionError, match=rf"^{path}: '~nosuchuser/x' is in the home folder of a user"):
        options_of(short_options(**{option: "~nosuchuser/x"}), tmp_path)


def test_a_run_in_the_home_of_nobody_is_one_line() -> None:
    with pytest.raises(OptionError, match="is in the home folder of a user"):
        find_run("~nosuchuser/mine")


def test_no_folder_is_made_of_what_else_stands_under_path(short_options: Options, tmp_path: Path) -> None:
    from paragon_plugin.hosts.basicsr.run.folders import make_folders

    options = options_of(short_options(path__elsewhere=str(tmp_path / "OUT")), tmp_path)
    make_folders(options)
    assert (tmp_path / "experiments" / "short" / "models").is_dir()
    assert not (tmp_path / "OUT").exists()


# -- metrics -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("better", ["Higher", "HIGHER", "max", "", True, 1, ["lower"]])
def test_a_direction_is_one_of_two_words(short_options: Options, tmp_path: Path, better: Any) -> None:
    metrics = {"psnr": {"type": "calculate_psnr", "crop_border": 2, "better": better}}
    with pytest.raises(OptionError, match=r"^val\.metrics\.psnr\.better: must be one of higher, lower"):
        options_of(short_options(val__metrics=metrics), tmp_path)


def test_a_direction_that_is_not_written_comes_from_the_table(short_options: Options, tmp_path: Path) -> None:
    metrics = {name: {"type": f"calculate_{name}", "crop_border": 2} for name in ("psnr", "niqe")}
    metrics["mine"] = {"type": "calculate_psnr", "crop_border": 2, "better": "lower"}
    options = options_of(short_options(val__metrics=metrics), tmp_path)
    found = {name: metric["better"] for name, metric in options["val"]["metrics"].items()}
    assert found == {"psnr": "higher", "niqe": "lower", "mine": "lower"}


def test_a_metric_of_no_known_direction_is_told_of() -> None:
    problems = Problems()
    val = {"metrics": {"taste": {"type": "calculate_taste"}, "psnr": {"type": "calculate_psnr"}}}
    complete_directions(val, problems)
    (problem,) = problems.found
    assert (problem.severity, problem.path) == ("warning", "val.metrics.taste")
    assert "'better: lower'" in problem.text


# -- memory ------------------------------------------------------------------------------------------------------------

LEVELS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
MAPS = "m0: &m0 {a: 1, b: 2}\n" + "".join(
    f"m{i}: &m{i} {{{', '.join(f'k{j}: *m{i - 1}' for j in range(10))}}}\n" for i in range(1, 9)
)
MERGES = "m0: &m0 {a: 1, b: 2}\n" + "".join(
    f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 10)}], k{i}: 1}}\n" for i in range(1, 9)
)
BOMBS = {
    "values": LEVELS,
    "a key": LEVELS + "? *a9\n: 1\n",
    "maps": MAPS,
    "merges": MERGES,
    "a long list": f"a: [{', '.join('x' * 2_000_000)}]\n",
    "in a set": LEVELS + "s: !!set {? *a9}\n",
    "a key in a key": LEVELS + "? {? *a9 : 1}\n: 1\n",
    "omap": LEVELS + "s: !!omap [a: *a9]\n",
}


@pytest.fixture
def little_memory() -> Any:
    """2 GB above what is taken: what is expanded fails rather than takes the machine along."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (2 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads what is taken from /proc")
@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("bomb", BOMBS)
def test_values_are_counted_before_they_are_built(tmp_path: Path, bomb: str) -> None:
    file = tmp_path / "bomb.yml"
    file.write_text(BOMBS[bomb])
    with pytest.raises(OptionError, match=r"bomb\.yml, line \d+: holds more than 100,000 values"):
        read_option_file(file)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads what is taken from /proc")
@pytest.mark.usefixtures("little_memory")
def test_values_of_an_override_are_counted_as_well() -> None:
    levels = [f"&{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]" for i in range(9)]
    with pytest.raises(OptionError, match=r"--force_yml a=.*holds more than 100,000 values"):
        apply_overrides({}, [f"a=[&a [x, x, x, x, x, x, x, x, x, x], {', '.join(levels)}]"])


def test_an_alias_inside_itself_is_one_line(tmp_path: Path) -> None:
    for text in ("a: &a [*a]\n", "a: &a {b: *a}\n"):
        (tmp_path / "self.yml").write_text(text)
        with pytest.raises(OptionError, match="refers to itself"):
            read_option_file(tmp_path / "self.yml")


def test_blocks_that_an_alias_shares_are_separate_in_overrides_too() -> None:
    options: dict[str, Any] = {}
    apply_overrides(options, ["a=[&x {b: 1}, *x]"])
    assert options["a"] == [{"b": 1}, {"b": 1}]
    assert options["a"][0] is not options["a"][1]


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="reads /dev/zero")
def test_an_option_file_is_refused_from_its_size(tmp_path: Path) -> None:
    (tmp_path / "large.yml").write_bytes(b"#" * MAX_BYTES + "é".encode())
    for file in (tmp_path / "large.yml", Path("/dev/zero")):
        with pytest.raises(OptionError, match="has more than 8,388,608 bytes"):
            read_option_file(file)


@pytest.mark.parametrize("number", ["1" + ":1" * 200_000, "1" * 900_000, "0x" + "f" * 900_000, "1_" * 400_000 + "1"])
def test_a_long_number_is_refused_at_once(number: str) -> None:
    with pytest.raises(yaml.YAMLError, match="a whole number is too large"):
        yaml.load(f"a: {number}", OptionLoader)


def test_half_a_character_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "half.yml").write_text('a: 1\nb: "\\ud800"\n')
    with pytest.raises(OptionError, match=r"half\.yml, line \d: holds half of a character"):
        read_option_file(tmp_path / "half.yml")
