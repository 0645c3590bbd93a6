"""Arrays packed into a web page, and weights in 8 bits. explorer.js unpacks both."""

import base64
import gzip
import json

import numpy as np
import torch
from torch import Tensor

POWER = 1.5  # of the companding


def companded(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Codes (R, C) int8 of weights (R, C), and the largest size (R,) in each row.

    A weight is sign(code) * |code / 127|^POWER * the largest. So small weights have finer steps.
    """
    largest = np.abs(weights).max(axis=1)
    share = np.abs(weights) / np.where(largest > 0, largest, 1)[:, None]
    return (np.sign(weights) * np.rint(127 * share ** (1 / POWER))).astype(np.int8), largest


def restored(codes: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The weights (R, C) float32 of `companded`."""
    return (np.sign(codes) * np.abs(codes / 127) ** POWER * largest[:, None]).astype(np.float32)


def weights_in_8_bits(
    weights: dict[str, Tensor],
) -> tuple[dict[str, np.ndarray], dict[str, Tensor]]:
    """The weights as arrays, matrices in 8 bits with NAME.maxima; and the weights these give."""
    arrays, rounded = {}, dict(weights)
    for name, values in weights.items():
        array = values.cpu().numpy()
        arrays[name] = array.astype(np.int32 if array.dtype == np.int64 else np.float32)
        if array.ndim == 2:
            codes, largest = companded(array)
            arrays |= {name: codes, f"{name}.maxima": largest}
            rounded[name] = torch.from_numpy(restored(codes, largest))
    return arrays, rounded


def palette(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The colours (K, 3) of uint8 images (..., 3), and the number of the colour of each pixel."""
    red, green, blue = np.moveaxis(images.astype(np.int32), -1, 0)
    colours, numbers = np.unique(red << 16 | green << 8 | blue, return_inverse=True)
    table = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.uint8)
    return table, numbers.astype(np.min_scalar_type(len(colours) - 1))


def pack(arrays: dict[str, np.ndarray], facts: dict[str, object]) -> str:
    """The length of a header, the header in JSON, and the arrays: gzip, then base64.

    Each part begins at a multiple of four bytes. Equal content gives equal text.
    """
    entries, parts, start = [], [], 0
    for name, array in arrays.items():
        entry = {"name": name, "kind": array.dtype.name, "shape": array.shape, "start": start}
        entries.append(entry)
        parts.append(array.tobytes() + bytes(-array.nbytes % 4))
        start += len(parts[-1])
    header = json.dumps({"facts": facts, "arrays": entries}, allow_nan=False).encode()
    header += b" " * (-len(header) % 4)
    content = len(header).to_bytes(4, "little") + header + b"".join(parts)
    return base64.b64encode(gzip.compress(content, compresslevel=6, mtime=0)).decode()
