"""Whether a replica that has been given a GPU can use it."""

LEAST_DRIVER = {"13": 580, "12": 525}
"""NVIDIA's driver that a major version of CUDA needs at the least ("CUDA Toolkit Release Notes",
minimum required driver version for CUDA minor version compatibility)."""


def require_cuda() -> None:
    """Raise RuntimeError, with the reason, unless torch can use a GPU.

    A replica that decoded on the CPUs of a paid GPU node instead would look ready and be slow.
    """
    import torch

    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:  # the latter: torch's build has no CUDA
        cuda = torch.version.cuda
        least = LEAST_DRIVER.get(cuda.partition(".")[0]) if cuda else None
        needs = f", which needs NVIDIA's driver {least} or newer on the node" if least else ""
        raise RuntimeError(
            f"WhisperASR has been given a GPU and cannot use it: {str(error).rstrip('.')}."
            f" torch {torch.__version__} is built {f'for CUDA {cuda}' if cuda else 'without CUDA'}"
            f"{needs}. To decode on the CPU on purpose, set WHISPER_DEVICE=cpu."
        ) from None
