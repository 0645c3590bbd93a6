"""One file from one address; an interrupted download continues."""

import os
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm


def _fetch(url: str, target: Path, progress: bool, timeout: float) -> None:
    """Downloads to `target`, by way of `.part`, which it continues and leaves behind when the
    connection breaks.
    """
    part = target.with_name(target.name + ".part")
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if (
            error.code == 416
        ):  # nothing of this file lies beyond what is there: it cannot be continued
            part.unlink()
        raise
    with response:
        if response.status != 206:
            start = 0  # the whole file comes, whatever was asked for
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with (
            open(part, "ab" if start else "wb") as file,
            tqdm(
                desc=target.name,
                total=total,
                initial=start,
                unit="B",
                unit_scale=True,
                disable=not progress,
            ) as bar,
        ):
            while block := response.read(1 << 18):
                file.write(block)
                bar.update(len(block))
            size = file.tell()
    if total is not None and size != total:
        raise OSError(f"the connection broke off at {size:,} of {total:,} bytes")
    with open(part, "rb") as file:
        magic = file.read(2)
    if magic != b"\x1f\x8b":
        part.unlink()
        raise OSError(
            "it sent something other than a .tar.gz, perhaps a page that says the file has moved"
        )
    os.replace(part, target)
