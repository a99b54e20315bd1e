"""Image folders in the host's layout, cut from bundled photographs."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def image_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`HR/`, `LR2/` and `LR4/` with four pairs, and `paths.txt` that names the HR images."""
    import cv2
    import numpy as np

    import paragon_plugin

    paragon_plugin.install()
    from paragon_plugin.hosts.basicsr.data.sample_photos_dataset import low_resolution, sample_photo

    root = tmp_path_factory.mktemp("images")
    for folder in ("HR", "LR2", "LR4"):
        (root / folder).mkdir()
    names = []
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        hr = sample_photo(name)[:192, :256]
        names.append(f"{name}.png")
        cv2.imwrite(str(root / "HR" / names[-1]), hr[..., ::-1])
        for scale in (2, 4):
            lr = np.round(low_resolution(hr.astype("float32") / 255, scale) * 255).astype("uint8")
            cv2.imwrite(str(root / f"LR{scale}" / names[-1]), lr[..., ::-1])
    (root / "paths.txt").write_text("\n".join(names) + "\n")
    return root
