"""Starts a script of traiNNer-redux on a machine without a GPU; for tests only.

    python without_gpu.py train.py -opt FILE
    python without_gpu.py -m paragon_plugin.hosts.trainner_redux train.py -opt FILE

redux asks for CUDA when it starts. It alone is told that there is one: torch has to go on knowing that there is none.
"""

import os
import runpy
import sys
import types
from pathlib import Path
from typing import Any

import torch
from torch import nn


def pretend() -> None:
    """Answer what redux asks of CUDA."""
    torch.cuda.is_available = lambda: sys._getframe(1).f_globals.get("__name__") == "__main__"
    torch.cuda.device_count = lambda: 0 if "RANK" not in os.environ else 2
    torch.cuda.current_device = lambda: 0
    torch.cuda.set_device = lambda _: None
    torch.cuda.set_per_process_memory_fraction = lambda **_: None
    torch.cuda.get_device_properties = lambda _: types.SimpleNamespace(  # pyright: ignore[reportAttributeAccessIssue]
        name="none", total_memory=0, major=0, minor=0, multi_processor_count=0
    )
    nn.Module.cuda = torch.Tensor.cuda = lambda self, *_: self  # pyright: ignore[reportAttributeAccessIssue]
    start_group = torch.distributed.init_process_group
    torch.distributed.init_process_group = lambda **_: start_group("gloo")
    parallel = nn.parallel.DistributedDataParallel

    class OnCpu(parallel):
        def __init__(self, net: nn.Module, **options: Any):
            super().__init__(net, **{**options, "device_ids": None})

    nn.parallel.DistributedDataParallel = OnCpu  # pyright: ignore[reportAttributeAccessIssue]


def main() -> None:
    """Run the script as Python would."""
    torch.set_num_threads(1)
    pretend()
    sys.argv = sys.argv[1:]
    if sys.argv[0] == "-m":
        sys.argv = sys.argv[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(sys.argv[0]).resolve().parent)
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
