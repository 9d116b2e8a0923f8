"""The device that torch computes on: what was asked for, or an error."""

import logging
import os
from pathlib import Path

import torch

from dice_atlas.errors import InputError

logger = logging.getLogger(__name__)


def pick_device(setting: str, threads: int) -> str:
    """The device to compute on; sets torch's threads.

    Parameters
    ----------
    setting : auto (cuda where there is one), cpu or cuda.
    threads : of torch; more than the process has cores are not taken.

    Returns
    -------
    cpu or cuda.

    Raises
    ------
    InputError
        The setting is cuda, and torch sees no CUDA device.
    """
    # More threads than cores make torch many times slower.
    torch.set_num_threads(max(1, min(threads, available_cores())))
    if setting == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "device is cuda, but torch sees no CUDA device (torch "
            f"{torch.__version__}); set device: auto or cpu, or ask for a GPU node (gpu: 1)"
        )
    device = "cuda" if setting != "cpu" and torch.cuda.is_available() else "cpu"
    name = (
        torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
    )
    logger.info("device: %s (%s)", device, name)
    return device


def available_cores() -> int:
    """Cores that this process may use, where the system says so; else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def has_fast_bfloat16(device: str) -> bool:
    """Whether matrix products in bfloat16 run in hardware."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    in_hardware = bool({"avx512_bf16", "amx_bf16"} & cpu_flags())
    return in_hardware and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def cpu_flags() -> set[str]:
    """Instruction sets of the processor; empty where the system does not say."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return set(next((line for line in lines if line.startswith("flags")), "").split())
