"""Checks the image files of a dataset for pairs, damage and sizes. It reads names, headers and last bytes only."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ....resilience.fault_tolerant_dataset import MAX_UNREADABLE, too_many
from ....resilience.image_damage import image_damage
from ..data.hr_images import hr_images
from ..data.image_size import image_size
from ..options.file import Options
from ..options.meta_info import SUFFIXES, first_name, read_meta_info
from ..options.problems import Problems

SAMPLE = 1000
"""Images of a set that a run looks at before it starts, evenly spread: 0.1 s on a local disk. A check takes all."""

_PAIRED = ("PairedImageDataset", "RealESRGANPairedDataset")
_LISTED_HR = "RealESRGANDataset"
_HR_ALONE = ("HRImageDataset", "HRDegradationDataset")


@dataclass(frozen=True)
class Pair:
    """Files of one sample."""

    hr: Path
    lr: Path | None = None


@dataclass
class _Findings:
    """What is wrong with the images of one set."""

    unreadable: list[str] = field(default_factory=list)
    wrong_scale: list[str] = field(default_factory=list)
    small: list[str] = field(default_factory=list)
    smallest: int | None = None


def check_images(options: Options, problems: Problems) -> None:
    """Report unpaired names, unreadable files, pairs of another scale, and images smaller than the patch.

    Sets whose images are not files on disk, or whose dataset is not the host's for pairs or HR images, are left to
    the rehearsal.
    """
    for key, dataset in options["datasets"].items():
        if (dataset.get("io_backend") or {}).get("type", "disk") != "disk":
            continue
        path = f"datasets.{key}"
        dataset = {**dataset, "type": str(dataset.get("type")).removesuffix("_basicsr")}
        _report_folders(path, dataset, problems)
        pairs = _pairs(path, dataset, problems)
        if not problems.complete and len(pairs) > SAMPLE:
            pairs = [pairs[i * len(pairs) // SAMPLE] for i in range(SAMPLE)]
        _report(path, dataset, _look_at(path, dataset, pairs), len(pairs), problems)


def _report_folders(path: str, dataset: Options, problems: Problems) -> None:
    """Images that stand in sub-folders, which the host's datasets do not look into, and files that are no images."""
    listed = dataset.get("meta_info_file") or dataset.get("meta_info")
    if dataset["type"] not in (*_PAIRED, "SingleImageDataset") or listed:
        return
    for key in ("dataroot_gt", "dataroot_lq"):
        folder = dataset.get(key)
        if not isinstance(folder, str) or not os.path.isdir(folder):
            continue
        files = _files(Path(folder))
        foreign = [name for name in files if not _looks_like_an_image(name) and not _is_image(Path(folder) / name)]
        if foreign:
            text = f"holds what is no image: {_some(foreign, 'file')}; remove it, BasicSR opens every file of a folder"
            problems.error(f"{path}.{key}", text)
        below = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and _holds_images(entry.path))
        if not below:
            continue
        where = f"{len(below)} sub-folder{'' if len(below) == 1 else 's'} of {folder} ({', '.join(below[:3])}"
        where += ", ...)" if len(below) > 3 else ")"
        if len(files) == len(foreign):
            problems.error(
                f"{path}.{key}",
                f"the images are in {where}, and none in the folder itself, which is all that BasicSR reads: move them "
                "up, name one of the sub-folders, or list them (meta_info)",
            )
        else:
            problems.warn(f"{path}.{key}", f"images in {where} are not used: BasicSR reads the folder itself alone")


def _looks_like_an_image(name: str) -> bool:
    return name.lower().endswith(tuple(f".{suffix}" for suffix in SUFFIXES))


def _is_image(file: Path) -> bool:
    try:
        image_size(file)
    except Exception:  # Pillow raises nearly anything on what is no image
        return False
    return True


def _holds_images(folder: str) -> bool:
    return any(_looks_like_an_image(name) for _, _, names in os.walk(folder) for name in names)


def _pairs(path: str, dataset: Options, problems: Problems) -> list[Pair]:
    """The set's files as its dataset will find them; only those that have their partner."""
    hr, lr = dataset.get("dataroot_gt"), dataset.get("dataroot_lq")
    listed = dataset.get("meta_info_file" if dataset["type"] == "PairedImageDataset" else "meta_info")
    if dataset["type"] in _HR_ALONE:
        return [Pair(file) for file in hr_images(hr, dataset.get("images"), dataset.get("exclude"), path)]
    if dataset["type"] == _LISTED_HR:
        if not isinstance(hr, str) or not isinstance(listed, str) or not os.path.isfile(listed):
            return []
        return [Pair(Path(hr) / first_name(line)) for line in _lines(f"{path}.meta_info", listed, problems)]
    if dataset["type"] not in _PAIRED or not isinstance(hr, str) or not isinstance(lr, str):
        return []
    if not (os.path.isdir(hr) and os.path.isdir(lr)):
        return []
    template = dataset.get("filename_tmpl", "{}")
    try:
        template.format("")
    except (LookupError, ValueError, AttributeError):
        problems.error(f"{path}.filename_tmpl", f"must look like '{{}}x4', is {template!r}")
        return []
    if listed is not None:
        if dataset["type"] != "PairedImageDataset" or not os.path.isfile(listed):
            return []
        names = [first_name(line) for line in _lines(f"{path}.meta_info_file", listed, problems)]
        return [Pair(Path(hr) / name, Path(lr) / _partner(name, template)) for name in names]
    return _paired_by_name(path, Path(hr), Path(lr), template, problems)


def _lines(path: str, file: str, problems: Problems) -> list[str]:
    try:
        return read_meta_info(file)
    except (OSError, UnicodeDecodeError) as error:
        problems.error(path, f"{file} cannot be read as text: {error}")
        return []


def _partner(name: str, template: str) -> str:
    stem, extension = os.path.splitext(os.path.basename(name))
    return f"{template.format(stem)}{extension}"


def _paired_by_name(path: str, hr: Path, lr: Path, template: str, problems: Problems) -> list[Pair]:
    hr_names, lr_names = ([n for n in _files(f) if _looks_like_an_image(n) or _is_image(f / n)] for f in (hr, lr))
    partners = {name: _partner(name, template) for name in hr_names}
    there = set(lr_names)
    alone = [name for name, partner in partners.items() if partner not in there]
    left = sorted(there - set(partners.values()))
    if alone:
        hint = _template_hint(alone[0], left)
        problems.error(
            f"{path}.dataroot_gt", f"{_some(alone, 'image')} of {hr} without a partner in {lr} (filename_tmpl){hint}"
        )
    if left:
        problems.error(f"{path}.dataroot_lq", f"{_some(left, 'image')} of {lr} without a partner in {hr}")
    return [Pair(hr / name, lr / partner) for name, partner in partners.items() if partner in there]


def _files(folder: Path) -> list[str]:
    """Names in a folder as the host lists them, sorted."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith(".") and entry.is_file())


def _template_hint(name: str, others: Sequence[str]) -> str:
    """The template under which an image would have a partner among the others."""
    stem, extension = os.path.splitext(name)
    for other in others:
        theirs, their_extension = os.path.splitext(other)
        if theirs == stem and extension != their_extension:
            return f"; {other} and {name} have different endings, and BasicSR needs the same one"
        if stem in theirs and extension == their_extension:
            return f"; for {other} write filename_tmpl: '{theirs.replace(stem, '{}', 1)}'"
    return ""


def _some(names: Sequence[str], what: str, shown: int = 3) -> str:
    """`5 images (a.png, b.png, c.png, ...)`."""
    listed = ", ".join(names[:shown]) + (", ..." if len(names) > shown else "")
    return f"{len(names)} {what}{'' if len(names) == 1 else 's'} ({listed})"


def _look_at(path: str, dataset: Options, pairs: Sequence[Pair]) -> _Findings:
    findings = _Findings()
    scale, training = dataset.get("scale"), dataset["phase"] == "train"
    patch = dataset.get("gt_size") if training and dataset["type"] in (*_PAIRED, _HR_ALONE[0]) else None
    hidden = not sys.stderr.isatty()
    for pair in tqdm(pairs, desc=f"{path}: images", unit="pair", delay=2, leave=False, disable=hidden):
        sizes = [_size(file, findings) for file in (pair.hr, pair.lr) if file is not None]
        hr = sizes[0]
        if hr is None:
            continue
        if patch and min(hr) < patch:
            findings.small.append(f"{pair.hr.name} {hr[0]} x {hr[1]}")
            findings.smallest = min(hr) if findings.smallest is None else min(findings.smallest, *hr)
        lr = sizes[1] if len(sizes) > 1 else None
        if lr is not None and isinstance(scale, int) and not _fits(hr, lr, scale, exactly=training):
            findings.wrong_scale.append(f"{pair.lr} {lr[0]} x {lr[1]} for {pair.hr} {hr[0]} x {hr[1]}")
    return findings


def _size(file: Path, findings: _Findings) -> tuple[int, int] | None:
    """Width and height from the header; a file that is damaged is noted."""
    problem = image_damage(file)
    if problem is None:
        try:
            return image_size(file)
        except Exception as error:  # Pillow raises nearly anything on what is no image
            problem = f"cannot be read as an image ({type(error).__name__})"
    findings.unreadable.append(f"{file} {problem}")
    return None


def _fits(hr: tuple[int, int], lr: tuple[int, int], scale: int, *, exactly: bool) -> bool:
    """Whether HR is LR times scale; in validation the host cuts off what HR has over, less than one LR pixel of it."""
    over = [h - scale * w for h, w in zip(hr, lr, strict=True)]
    return over == [0, 0] if exactly else all(0 <= o < scale for o in over)


def _report(path: str, dataset: Options, findings: _Findings, looked_at: int, problems: Problems) -> None:
    scale, training = dataset.get("scale"), dataset["phase"] == "train"
    if findings.unreadable:
        share: Any = dataset.get("max_unreadable", MAX_UNREADABLE) if training else 0
        text = f"{_some(findings.unreadable, 'image file')} of {looked_at} samples cannot be used"
        if too_many(len(findings.unreadable), looked_at, share):
            problems.error(path, text + (f", more than {share:.3g} of them (max_unreadable)" if training else ""))
        else:
            problems.warn(path, f"{text}; others will take their place")
    if findings.wrong_scale:
        first = findings.wrong_scale[0]
        problems.error(
            path,
            f"{len(findings.wrong_scale)} pairs are not of scale {scale}, LR images must be 1/{scale} of HR: {first}",
        )
    if findings.small:
        problems.error(
            f"{path}.gt_size",
            f"is {dataset['gt_size']}, larger than {_some(findings.small, 'image')}; {findings.smallest} fits all",
        )
