"""Parts on disk: a Parquet file and, written last, its manifest. What has no manifest isn't there.

    stages/02-pairs/part-00003.parquet     rows, written aside, synced, then renamed
    stages/02-pairs/part-00003.json        key, content hash, counts; the part is there when this exists

A kill at any moment leaves a whole part, or none, and perhaps a `.tmp` file that the next writer replaces.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from limbeck.errors import BuildNotFound, DiskFull, LimbeckError, RequestError
from limbeck.records import holds_pictures

ROW_GROUP_ROWS = 100
"""Rows of a row group: the Hub's viewer reads whole groups, and pictures are heavy."""
_FREE_SOME = "free some space and run the same command again: it resumes, and nothing half-written counts"
_NEXT_TO_NOTHING = 2**18
"""Bytes; a library's buffers may find no room where a byte still would."""
_NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG})


def part_name(part: int) -> str:
    """Name of a part's files, without suffix.

    >>> part_name(3)
    'part-00003'
    """
    return f"part-{part:05d}"


def write_part(folder: Path, part: int, table: pa.Table, manifest: dict[str, Any]) -> dict[str, Any]:
    """Writes a part; it counts as done once this returns.

    Args:
        folder: the stage's folder.
        part: number of the part.
        table: its rows.
        manifest: what to remember; `content` (hash of the file) and `rows` are added.

    Raises:
        DiskFull: nothing of this part counts.
    """
    data = parquet_bytes(table)
    manifest = manifest | {"rows": table.num_rows, "content": hashlib.blake2b(data, digest_size=16).hexdigest()}
    manifest_path = folder / f"{part_name(part)}.json"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        manifest_path.unlink(missing_ok=True)  # an old manifest must not vouch for new rows
        write_file(folder / f"{part_name(part)}.parquet", data)
        write_file(manifest_path, orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    return manifest


def replace_rows(folder: Path, part: int, table: pa.Table, **facts: Any) -> None:
    """Replaces a part's rows and keeps what its manifest says of the old ones (its rejects' pictures were let go).

    The facts are written first: a kill in between may say too much of what is gone, never too little.

    Raises:
        DiskFull: the old rows stay.
    """
    manifest = read_manifest(folder, part) or {}
    with disk_errors(folder):
        write_file(
            folder / f"{part_name(part)}.json",
            orjson.dumps(manifest | facts, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS),
        )
        write_file(folder / f"{part_name(part)}.parquet", parquet_bytes(table))


def read_manifest(folder: Path, part: int) -> dict[str, Any] | None:
    """A part's manifest, or None where the part isn't done."""
    try:
        return orjson.loads((folder / f"{part_name(part)}.json").read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        return None


def forget_part(folder: Path, part: int) -> None:
    """Makes a part undone."""
    (folder / f"{part_name(part)}.json").unlink(missing_ok=True)


def read_part(folder: Path, part: int, columns: Sequence[str] | None = None) -> pa.Table:
    """A part's rows.

    Raises:
        BuildNotFound: the file is missing or damaged though a manifest vouches for it.
    """
    path = folder / f"{part_name(part)}.parquet"
    try:
        # One file at a time and its own schema: no dataset discovery, and threads only where rows are many.
        return pq.ParquetFile(path).read(columns=None if columns is None else list(columns), use_threads=False)
    except (FileNotFoundError, pa.ArrowInvalid, OSError) as error:
        raise BuildNotFound(
            f"{path} can't be read: {error}", remedy=f"delete {path.with_suffix('.json')} and run again to make it anew"
        ) from error


def done_parts(folder: Path) -> list[int]:
    """Numbers of the parts with a manifest, in order."""
    return sorted(int(path.stem.removeprefix("part-")) for path in folder.glob("part-*.json"))


def parquet_bytes(table: pa.Table, row_group_rows: int = ROW_GROUP_ROWS) -> bytes:
    """A table as a Parquet file: encoded pictures as they are, everything else with zstd."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, **writer_options(table.schema)) as writer:
        has_pictures = any(map(holds_pictures, table.schema))
        writer.write_table(table, row_group_size=row_group_rows if has_pictures else max(1, table.num_rows))
    return sink.getvalue().to_pybytes()


def writer_options(schema: pa.Schema) -> dict[str, Any]:
    """Options of `ParquetWriter`: pictures are compressed already, and have no use for dictionaries or statistics."""
    pictures = {f.name for f in schema if holds_pictures(f)}
    kinds = {path: kind for f in schema for path, kind in _leaves(f.name, f.type)}
    leaves = list(kinds)
    plain = [path for path in leaves if path.partition(".")[0] not in pictures or path.endswith(".path")]
    return {
        "compression": {path: "zstd" if path in plain else "none" for path in leaves},
        "use_dictionary": [path for path in plain if pa.types.is_string(kinds[path])],
        "write_statistics": plain,
        "store_schema": True,
    }


def _leaves(path: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """Columns of a Parquet file, by their paths: what a nested type comes apart into."""
    if pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{path}.{field.name}", field.type)
    elif pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    else:
        yield path, kind


def write_file(path: Path, data: bytes) -> None:
    """Writes aside, syncs, renames, syncs the folder; a reader sees the old file or the whole new one.

    Raises:
        DiskFull: there is no room; the old file stays.
        RequestError: nobody may write there.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path.parent):
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        except OSError:
            with suppress(OSError):
                aside.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Makes renames in a folder durable, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except (OSError, PermissionError):  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns the disk's own refusals into one clear error each; anything else goes on as it is.

    Raises:
        DiskFull: no space left, a quota, or a limit on the size of files.
        RequestError: nobody may write there, or it can't be a folder.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) or "No space left" in str(error):
            if error.errno != errno.EFBIG:
                raise DiskFull("the disk is full", where=str(folder), remedy=_FREE_SOME) from error
            raise DiskFull(
                "a file grew over the size that is allowed here", where=str(folder),
                remedy=_FREE_SOME.replace("free some space", "raise the limit (`ulimit -f`)"),
            ) from error  # fmt: skip
        if error.errno in _NOT_WRITABLE:
            raise RequestError(
                f"can't be written: {error.strerror}", where=str(folder),
                remedy="name a folder that you may write to, with --out for instance",
            ) from error  # fmt: skip
        raise
    except LimbeckError:
        raise
    except Exception as error:  # libraries that write in C++ say something else: a full disk is seen by looking
        if _is_full(folder):
            raise DiskFull("the disk is full", where=str(folder), remedy=_FREE_SOME) from error
        raise


def _is_full(folder: Path) -> bool:
    """Whether next to nothing can be written there."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    return shutil.disk_usage(there).free < _NEXT_TO_NOTHING
