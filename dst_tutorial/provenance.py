"""Where a number comes from: the versions, the hardware and the date that stand beside every recorded result."""

import datetime
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from . import __version__

_PACKAGES = ("numpy", "scipy", "numba", "onnxruntime", "sparseprop", "sparselab", "mnist1d")


def provenance() -> dict:
    """Versions, hardware, threads and date of this very process, ready for JSON."""
    return {
        "date": datetime.date.today().isoformat(),
        "code": __version__ + _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{package: _version(package) for package in _PACKAGES},
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def _cpu() -> str:
    from cpuinfo import get_cpu_info  # asks several sources, a second in all

    return get_cpu_info().get("brand_raw", platform.processor() or "unknown")


@cache
def _commit() -> str:
    """ "+abc1234" in a git checkout ("-dirty" with uncommitted changes to the package), "" elsewhere."""

    def git(*arguments: str) -> str:
        here = Path(__file__).parent
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        if not git("ls-files", "__init__.py"):
            return ""  # installed inside somebody else's checkout
        return f"+{git('rev-parse', '--short', 'HEAD')}" + ("-dirty" if git("status", "--porcelain", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""
