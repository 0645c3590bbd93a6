"""One file from one address. A download that broke off is continued."""

import os
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

GZIP = b"\x1f\x8b"  # the first bytes of a .tar.gz


def download(url: str, target: Path, progress: bool, timeout: float) -> None:
    """Download a .tar.gz to `target`. When the connection breaks, `target`.part keeps its bytes.

    Raises: OSError, HTTPException or ValueError that says why.
    """
    part = target.with_name(target.name + ".part")
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # the file has no such range, so this part cannot be continued
            part.unlink()
        raise
    with response:
        if response.status != 206:
            start = 0  # the server sends the complete file
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        size = _receive(response, part, start, total, target.name, progress)
    if total is not None and size != total:
        raise OSError(f"the connection broke off at {size:,} of {total:,} bytes")
    with open(part, "rb") as file:
        is_gzip = file.read(len(GZIP)) == GZIP
    if not is_gzip:
        part.unlink()
        raise OSError(
            "it sent something other than a .tar.gz, perhaps a page that says the file has moved"
        )
    os.replace(part, target)


def _receive(response, part: Path, start: int, total: int | None, name: str, show: bool) -> int:
    bar = tqdm(desc=name, total=total, initial=start, unit="B", unit_scale=True, disable=not show)
    with bar, open(part, "ab" if start else "wb") as file:
        while block := response.read(1 << 18):
            file.write(block)
            bar.update(len(block))
        return file.tell()
