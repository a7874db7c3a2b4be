"""The pickled metadata of a DCP checkpoint, read without running what it names."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import Metadata

from vlamon.guard.checkpoint.disk import DurableError

PLAIN = {
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("pathlib", "PosixPath"),
    ("pathlib._local", "PosixPath"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    *(
        ("torch.distributed.checkpoint.metadata", name)
        for name in (
            "Metadata",
            "MetadataIndex",
            "TensorStorageMetadata",
            "BytesStorageMetadata",
            "ChunkStorageMetadata",
            "TensorProperties",
            "StorageMeta",
            "_MEM_FORMAT_ENCODING",
        )
    ),
}
"""What the metadata of a checkpoint is made of."""


class _Unpickler(pickle.Unpickler):
    """A checkpoint that somebody else wrote must not run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in PLAIN:
            return super().find_class(module, name)
        if module == "torch" and isinstance(found := getattr(torch, name, None), torch.dtype):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a checkpoint's metadata")


def read_metadata(data: bytes, path: Path) -> Metadata:
    """The metadata in these bytes of `path`; `DurableError` where they hold anything else."""
    try:
        metadata = _Unpickler(io.BytesIO(data)).load()
    except Exception as error:
        raise DurableError(f"{path} is damaged: {error}") from error
    if not isinstance(metadata, Metadata):
        raise DurableError(f"{path} is damaged: it holds no metadata")
    return metadata
