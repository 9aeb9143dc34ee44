"""What vidfeat can use on this machine, and how to fix what does not work. Works where dependencies are broken."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sysconfig
import textwrap
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from vidfeat import __version__
from vidfeat.hardware import usable_cores
from vidfeat.lazy_import import install_command

Mark = Literal["ok", "note", "fix"]


@dataclass(frozen=True)
class Finding:
    """One line of the table.

    Attributes:
        subject: what was examined.
        mark: `ok`; `note`: works, with something optional missing; `fix`: does not work.
        found: its state.
        hint: how to change it; empty where there is nothing to change.
    """

    subject: str
    mark: Mark
    found: str
    hint: str = ""


EXTRAS = {
    "hf": ("transformers", "models named hf:NAME"),
    "timm": ("timm", "models named timm:NAME, backbones named timm.*"),
    "torchvision": ("torchvision", "models named torchvision:NAME, backbones named torchvision.*"),
    "umap": ("umap", "vidfeat report --map umap"),
    "nvdec": ("torchcodec", "vidfeat extract --decoder nvdec"),
    "hdf5": ("h5py", "outputs named .h5 or .hdf5"),
    "parquet": ("pyarrow", "outputs named .parquet"),
    "s3": ("s3fs", "videos and outputs at s3://"),
    "gs": ("gcsfs", "videos and outputs at gs://"),
    "az": ("adlfs", "videos and outputs at az://"),
    "http": ("aiohttp", "videos at http:// and https://"),
    "ray": ("ray", "vidfeat extract --executor ray"),
}
"""For each extra of the package: the module that it installs, and its purpose."""

_DECODERS = {
    "h264": ("h264",),
    "hevc": ("hevc",),
    "mpeg4": ("mpeg4",),
    "vp9": ("vp9", "libvpx-vp9"),
    "av1": ("libdav1d", "libaom-av1", "libgav1"),  # FFmpeg's own decoder of that name needs special hardware
}
_LIBRARIES = {
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "safetensors": "safetensors",
    "yaml": "pyyaml",
    "click": "click",
    "tqdm": "tqdm",
}
"""The dependencies that have no finding of their own: module and package."""

_LOW_SPACE_BYTES = 2 << 30
_MIRROR_TIMEOUT_SECONDS = 3.0


def examine(*subjects: str) -> list[Finding]:
    """Examine these subjects, or all. Connects only to the mirror that VIDFEAT_MIRROR names, if it is set."""
    findings = []
    for subject in subjects or _CHECKS:
        try:
            findings += _CHECKS[subject]()
        except Exception as error:  # the other findings are needed most where something is broken
            reason = str(error).strip() or "no reason given"
            hint = "Install vidfeat again, in a new virtual environment."
            findings.append(Finding(subject, "fix", f"{type(error).__name__}: {reason.splitlines()[0]}", hint))
    return findings


def render(findings: list[Finding]) -> str:
    """The table, in lines of at most 100 characters where words allow."""
    width = max(len(finding.subject) for finding in findings)
    indent = " " * (width + 7)
    lines = []
    for finding in findings:
        text = f"{finding.subject:<{width}}  {finding.mark:<4} {finding.found}"
        lines.append(_wrapped(text, indent))
        if finding.hint:
            lines.append(_wrapped(f"{indent}-> {finding.hint}", f"{indent}   "))
    wrong = sum(finding.mark == "fix" for finding in findings)
    lines.append("Nothing to fix." if not wrong else f"{wrong} to fix.")
    return "\n".join(lines)


def _wrapped(text: str, indent: str) -> str:
    return textwrap.fill(
        text, 100, subsequent_indent=indent, drop_whitespace=True, break_long_words=False, break_on_hyphens=False
    )


def _software() -> list[Finding]:
    return [
        Finding("vidfeat", "ok", f"{__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}")
    ]


def _cores() -> list[Finding]:
    total, usable = os.cpu_count() or 1, len(usable_cores())
    if usable == total:
        return [Finding("cores", "ok", f"{total}, all usable")]
    hint = "To use more, see taskset, the job's limits (--cpus-per-task) or the container's."
    return [Finding("cores", "note", f"{usable} of {total} usable by this process", hint)]


def cpu_flags(text: str) -> set[str]:
    """The feature flags in the text of `/proc/cpuinfo`."""
    lines = (line.partition(":") for line in text.splitlines())
    return {flag for name, _, flags in lines if name.strip() in ("flags", "Features") for flag in flags.split()}


def _bfloat16() -> list[Finding]:
    source = Path("/proc/cpuinfo")
    if not source.is_file():
        return [Finding("CPU bf16", "note", f"unknown on {platform.system()}")]
    flags = cpu_flags(source.read_text(errors="replace"))
    found = [name for flag, name in _BF16_FLAGS.items() if flag in flags]
    if found:
        return [Finding("CPU bf16", "ok", f"{', '.join(found)}: bf16 is computed in hardware")]
    hint = "Use fp32 here. CPUs with AMX (Intel Xeon of 2023 and later) compute bf16 several times as fast as fp32."
    return [Finding("CPU bf16", "note", "neither AMX nor AVX512-bf16: bf16 would be slow", hint)]


_BF16_FLAGS = {"amx_bf16": "AMX", "avx512_bf16": "AVX512-bf16", "bf16": "Arm bf16"}


def _compiler() -> list[Finding]:
    wanted = os.environ.get("CXX", "g++")
    compiler, headers = shutil.which(wanted), Path(sysconfig.get_path("include")) / "Python.h"
    if compiler and headers.is_file():
        return [Finding("compiler", "ok", f"{compiler}: torch.compile can make long runs faster")]
    missing = f"no C++ compiler named {wanted}" if not compiler else f"no {headers}"
    hint = "For torch.compile on the CPU install a C++ compiler and Python's headers, such as g++ and python3-dev."
    return [Finding("compiler", "note", f"{missing}: torch.compile cannot be used", hint)]


def _torch() -> list[Finding]:
    import torch

    found = [Finding("torch", "ok", torch.__version__)]
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for number in range(gpus):
        about = torch.cuda.get_device_properties(number)
        size = f"{about.total_memory / 2**30:.0f} GiB, compute capability {about.major}.{about.minor}"
        found.append(Finding(f"cuda:{number}", "ok", f"{about.name}, {size}"))
    if not gpus:
        found.append(_no_gpu(torch.version.cuda))
    return found


def _no_gpu(built_for: str | None) -> Finding:
    driver = Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
    if not driver:
        return Finding("GPU", "note", "no NVIDIA driver: networks run on the CPU")
    if built_for is None:
        hint = "Install PyTorch for CUDA, as pytorch.org/get-started says."
        return Finding("GPU", "fix", "an NVIDIA driver is installed, but this PyTorch is built for CPUs only", hint)
    hint = "See nvidia-smi and CUDA_VISIBLE_DEVICES; a driver older than PyTorch's CUDA must be updated."
    return Finding("GPU", "fix", f"an NVIDIA driver is installed, but PyTorch (CUDA {built_for}) sees no GPU", hint)


_PYAV, _PYAV_MAJORS = "'av>=17,<19'", (17, 18)
"""The versions of PyAV that vidfeat works with, as in pyproject.toml."""


def _ffmpeg() -> list[Finding]:
    import av
    from av.codec import codecs_available

    missing = [codec for codec, names in _DECODERS.items() if codecs_available.isdisjoint(names)]
    libraries = ", ".join(
        f"{name} {'.'.join(map(str, version))}"
        for name, version in sorted(av.library_versions.items())
        if name in ("libavcodec", "libavformat", "libswscale")
    )
    found = f"{av.ffmpeg_version_info} in PyAV {av.__version__} ({libraries})"
    if int(av.__version__.partition(".")[0]) not in _PYAV_MAJORS:
        return [Finding("FFmpeg", "fix", f"{found}; vidfeat needs PyAV 17 or 18", f"pip install {_PYAV}.")]
    if not missing:
        return [Finding("FFmpeg", "ok", f"{found}; decodes {', '.join(_DECODERS)}")]
    hint = (
        f"Install PyAV from its wheels, which have all of them: pip install --force-reinstall --only-binary av {_PYAV}."
    )
    return [Finding("FFmpeg", "fix", f"{found}; does not decode {', '.join(missing)}", hint)]


def _libraries() -> list[Finding]:
    found = []
    for module, package in _LIBRARIES.items():
        try:
            importlib.import_module(module)
            found.append(f"{module} {_version_of(module)}".rstrip())
        except ImportError as error:
            hint = f"pip install {package}" + (" (in place of opencv-python)." if module == "cv2" else ".")
            return [Finding("libraries", "fix", f"{module} cannot be imported: {error}", hint)]
    return [Finding("libraries", "ok", ", ".join(found))]


def _extras() -> list[Finding]:
    findings = []
    for extra, (module, purpose) in EXTRAS.items():
        if importlib.util.find_spec(module) is not None:
            findings.append(Finding(f"[{extra}]", "ok", f"{purpose}: {module} {_version_of(module)}".rstrip()))
        else:
            hint = f"If you need it: {install_command(extra)}"
            findings.append(Finding(f"[{extra}]", "note", f"{purpose}: not installed", hint))
    return findings


def _nvdec() -> list[Finding]:
    """Whether the GPU decodes; nothing where torchcodec is not installed."""
    if importlib.util.find_spec("torchcodec") is None:
        return []

    from vidfeat.errors import DeviceError
    from vidfeat.video.nvdec import require

    try:
        require()
    except DeviceError as error:
        return [Finding("NVDEC", "note", f"--decoder nvdec does not work here: {error.found}", error.hint)]
    return [Finding("NVDEC", "ok", "torchcodec and this GPU can decode videos")]


def _version_of(module: str) -> str:
    for package in importlib.metadata.packages_distributions().get(module, ()):
        return importlib.metadata.version(package)
    return ""


def _cache() -> list[Finding]:
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        hint = "Set TORCH_HOME to a folder that this user can write to."
        return [Finding("cache", "fix", f"{folder} cannot be written (because of {existing})", hint)]
    free = shutil.disk_usage(existing).free
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
    found = f"{folder}: {_gib(size)} of checkpoints, {_gib(free)} free"
    if free < _LOW_SPACE_BYTES:
        return [Finding("cache", "fix", found, "Free some space, or set TORCH_HOME to a folder on a larger disk.")]
    return [Finding("cache", "ok", found)]


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


def _mirror() -> list[Finding]:
    mirror = os.environ.get("VIDFEAT_MIRROR", "")
    if not mirror:
        hint = "Where the model zoo is not reachable, set VIDFEAT_MIRROR to the base URL of a copy."
        return [Finding("mirror", "ok", "none set: checkpoints are downloaded from their own URLs", hint)]
    hint = "Set it to a base URL such as https://mirror.example/openmmlab, or unset it."
    try:
        base = urlsplit(mirror)
        port = base.port
    except ValueError:
        return [Finding("mirror", "fix", "VIDFEAT_MIRROR is not an http(s) URL", hint)]
    if base.scheme not in ("http", "https") or not base.hostname:
        return [Finding("mirror", "fix", "VIDFEAT_MIRROR is not an http(s) URL", hint)]
    if base.username is not None:  # not shown, as it may contain a password
        return [Finding("mirror", "fix", "VIDFEAT_MIRROR has a user name or password, which is not supported", hint)]
    shown = f"{base.scheme}://{base.hostname}{f':{port}' if port else ''}{base.path}"
    reason = _unreachable(mirror)
    if reason:
        return [Finding("mirror", "fix", f"{shown}: {reason}", "Correct VIDFEAT_MIRROR or the proxies, or unset it.")]
    return [Finding("mirror", "ok", f"{shown} answers")]


def _unreachable(url: str) -> str:
    """Why a server does not answer; empty where it does, even with an HTTP error."""
    try:
        request = urllib.request.Request(url, method="HEAD", headers={"User-Agent": "vidfeat"})
        with urllib.request.urlopen(request, timeout=_MIRROR_TIMEOUT_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        error.close()
        return ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"no answer ({reason})"


_CHECKS: dict[str, Callable[[], list[Finding]]] = {
    "vidfeat": _software,
    "cores": _cores,
    "CPU bf16": _bfloat16,
    "torch": _torch,
    "compiler": _compiler,
    "FFmpeg": _ffmpeg,
    "libraries": _libraries,
    "extras": _extras,
    "NVDEC": _nvdec,
    "cache": _cache,
    "mirror": _mirror,
}
