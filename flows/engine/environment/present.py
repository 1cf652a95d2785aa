"""The present environment: versions of Python and of packages, and the class of the processor in plain words."""

import platform
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distributions, packages_distributions, version
from pathlib import Path

from flows.engine.environment.grades import NOT_INSTALLED, PROCESSOR
from stages.base.machine import processor_features

VENDORS = {"GenuineIntel": "Intel", "AuthenticAMD": "AMD", "HygonGenuine": "Hygon", "0x41": "ARM", "0xc0": "Ampere"}
# Instruction sets for which libraries have kernels of their own, which round differently; Linux's names of each.
INSTRUCTION_SETS = {
    "AVX2": {"avx2"},
    "AVX512": {"avx512f"},
    "BF16": {"avx512_bf16", "bf16"},
    "FP16": {"avx512_fp16", "asimdhp"},
    "AMX": {"amx_tile"},
    "I8MM": {"i8mm"},
    "SVE": {"sve"},
    "SVE2": {"sve2"},
}


def present_version(name: str) -> str:
    """Returns the version of `python`, of a package or of an importable module; for `processor`, its class."""
    special: dict[str, Callable[[], str]] = {"python": platform.python_version, PROCESSOR: processor_class}
    if name in special:
        return special[name]()
    try:
        return version(name) or "unknown"  # of a package whose metadata are broken
    except PackageNotFoundError:
        names = packages_distributions().get(name, [])  # `tensorflow` can come from the package tensorflow-cpu
        return version(names[0]) if names else NOT_INSTALLED


def installed_names() -> list[str]:
    """Returns the names of all installed packages, for suggestions."""
    return sorted({str(item.metadata["Name"]) for item in distributions() if item.metadata["Name"]})


def processor_class() -> str:
    """Returns vendor, architecture and instruction sets, without the model: `AMD x86_64 with AVX2, AVX512, BF16`."""
    features = processor_features()
    sets = [name for name, alternatives in INSTRUCTION_SETS.items() if alternatives & features]
    names = f"{_vendor()} {platform.machine()}".strip()
    return f"{names} with {', '.join(sets)}" if sets else names


def _vendor() -> str:
    """Returns the vendor's name; empty if the system does not report one."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        text = cpuinfo.read_text(encoding="utf-8")
        found = re.search(r"^(?:vendor_id|CPU implementer)\s*:\s*(\S+)", text, re.MULTILINE)
        return VENDORS.get(found[1], found[1]) if found else ""
    return "Apple" if platform.system() == "Darwin" and platform.machine() == "arm64" else ""
