"""Many pictures, a shard at a time: what an engine of distributed work runs on its workers.

A shard is a Parquet file, a .tar file of a WebDataset, or a list of pictures in a folder. `begin` says
which are to do, and each becomes a Parquet file by `classify`, on any worker, any number of times: the
file appears whole or not at all, under the same name, so that a row is there once however often a
worker was killed. A shard whose file is there is done. Needs PyArrow. Sources and outputs are folders,
or addresses of object stores that PyArrow knows, as s3://bucket/folder.

    batch = Batch(drop=True)
    reports = [classify(batch, *shard) for shard in begin("pictures", "emotions", batch)]
    finish("emotions", reports)
"""

from __future__ import annotations

import json
import os
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from ._fer import __version__
from .batch import Batch

PathLike = str | os.PathLike[str]

#: The names of pictures, as the program goes by them in a folder.
EXTENSIONS = frozenset(
    "jpg jpeg jpe jfif png bmp gif webp tif tiff pgm ppm pbm tga heic heif avif jxl".split()
)
#: Pictures that a worker has in memory at a time.
AT_ONCE = 256
#: A picture's file is read this far, past the 256 MiB that fer takes, so that it says so.
LARGEST = (256 << 20) + 1
#: Rows of an output that are written at a time.
WRITTEN = 10_000
#: Files of a folder on an object store that are read at a time.
READERS = 16

_RECORD = "_fer.json"
_LISTS = "_lists"


class Shard(NamedTuple):
    """Where pictures are, and the Parquet file that they become."""

    source: str
    output: str


class Report(NamedTuple):
    """How a shard went."""

    shard: str
    #: Rows of its output.
    rows: int
    #: Those with an error: pictures that could not be read.
    errors: int
    #: Why the shard itself could not be read, else `None`. It has no output then, and is still to do.
    problem: str | None


def begin(
    source: PathLike, output: PathLike, batch: Batch, *, pictures: int = 10_000
) -> list[Shard]:
    """The shards of `source` that have no file in `output` yet.

    `source` is a Parquet file, a .tar file, or a folder of one of these or of pictures. A folder of
    pictures is listed once, `pictures` to a shard, in `output`; files that come later belong to
    another output. What an output was begun with is written there too.

    Raises ValueError for a source without pictures, and for an output of another source or operator.
    """
    if pictures < 1:
        raise ValueError(f"pictures={pictures} is not at least 1")
    source, output = _address(source), _address(output)
    place, folder = _place(output)
    settings = {k: v for k, v in batch.arguments.items() if k not in ("threads", "onnxruntime")}
    begun = {"source": source, "operator": json.loads(json.dumps(settings, default=str))}
    try:
        before = json.loads(_content(place, f"{folder}/{_RECORD}"))
    except FileNotFoundError:
        before = None
    except ValueError as e:
        raise ValueError(f"{output}/{_RECORD}: {e}") from None
    if before is None:
        kind = _kind(source, folder)
        if kind == "list":
            _write_lists(source, output, pictures)
        # Last, so that an interrupted listing is done again.
        record = json.dumps({**begun, "kind": kind, "fer": __version__}, indent=1)
        _write(place, f"{folder}/{_RECORD}", record.encode())
    else:
        kind = before.get("kind")
        for what, value in begun.items():
            if before.get(what) != value:
                raise ValueError(
                    f"{output} was begun with the {what} {before.get(what)}, not {value}: "
                    "name another output"
                )
    ending = {"parquet": ".parquet", "tar": ".tar", "list": ".txt"}[kind]
    root, names = _files(f"{output}/{_LISTS}") if kind == "list" else _files(source, without=folder)
    done = set(_files(output)[1])
    shards = []
    for name in names:
        result = name.removesuffix(ending) + ".parquet"
        if name.endswith(ending) and result not in done:
            shards.append(Shard(f"{root}/{name}", f"{output}/{result}"))
    return shards


def classify(batch: Batch, source: str, output: str) -> Report:
    """Classifies a shard's pictures into its output, unless that is there.

    The output has the shard's columns but not its pictures, if the operator has `drop=True`, and
    those of the operator. Its metadata has the labels, in the order of the probabilities.
    """
    place, path = _place(output)
    if place.get_file_info(path).type == fs.FileType.File:
        with pq.ParquetFile(path, filesystem=place) as file:
            errors = file.read(["error"])["error"]
        return Report(source, len(errors), len(errors) - errors.null_count, None)
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/.{name}.{uuid4().hex}"
    place.create_dir(folder, recursive=True)
    rows = errors = 0
    try:
        tables = map(batch, _tables(source))
        waiting = [next(tables)]
        about = {"fer.labels": json.dumps(batch.labels), "fer.version": __version__}
        schema = waiting[0].schema
        schema = schema.with_metadata({**(schema.metadata or {}), **about})
        with place.open_output_stream(temporary) as file, pq.ParquetWriter(file, schema) as writer:
            for table in tables:
                rows += len(table)
                errors += len(table) - table["error"].null_count
                waiting.append(table)
                if sum(map(len, waiting)) >= WRITTEN:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting = []
            if waiting:
                writer.write_table(pa.concat_tables(waiting))
        _move(place, temporary, path)
    except BaseException as e:
        if place.get_file_info(temporary).type == fs.FileType.File:
            place.delete_file(temporary)
        if isinstance(e, _Unreadable):
            return Report(source, 0, 0, str(e))
        raise
    return Report(source, rows, errors, None)


def finish(output: PathLike, reports: Iterable[Report]) -> bool:
    """Says how it went, and removes what killed workers left half written.

    Returns whether all shards could be read. Only to be called when no worker is at work.
    """
    reports = list(reports)
    place, folder = _place(_address(output))
    for info in place.get_file_info(fs.FileSelector(folder, recursive=True)):
        if info.type == fs.FileType.File and info.base_name.startswith("."):
            if ".parquet." in info.base_name:
                place.delete_file(info.path)
    problems = [report for report in reports if report.problem]
    for report in problems:
        print(f"not read: {report.problem}")
    rows, errors = sum(r.rows for r in reports), sum(r.errors for r in reports)
    done = len(reports) - len(problems)
    print(f"{done} shards, {rows} rows, {errors} of them with an error, in {output}")
    return not problems


class _Unreadable(Exception):
    """A shard that can't be read."""


def _tables(source: str) -> Iterator[pa.Table]:
    """A shard's pictures, a few at a time; one table at least."""
    kind = source.rpartition(".")[2]
    read = {"parquet": _of_parquet, "tar": _of_tar, "txt": _of_list}[kind]
    damaged = (OSError, EOFError, zlib.error, tarfile.TarError, pa.ArrowException, UnicodeError)
    try:
        yield from read(source)
    except damaged as e:
        raise _Unreadable(f"{source}: {e}") from e


def _of_parquet(source: str) -> Iterator[pa.Table]:
    place, path = _place(source)
    with pq.ParquetFile(path, filesystem=place) as file:
        yield file.schema_arrow.empty_table()
        for batch in file.iter_batches(batch_size=AT_ONCE):
            yield pa.Table.from_batches([batch])


def _of_tar(source: str) -> Iterator[pa.Table]:
    place, path = _place(source)
    schema = pa.schema([("path", pa.string()), ("bytes", pa.large_binary())])

    def pictures(file: Any) -> Iterator[tuple[str, bytes]]:
        with tarfile.open(fileobj=file, mode="r|") as tar:
            for member in tar:
                if member.isfile() and _is_picture(member.name):
                    # Bytes that are not UTF-8 are surrogates in names.
                    name = member.name.encode(errors="backslashreplace").decode()
                    yield name, tar.extractfile(member).read(LARGEST)

    yield schema.empty_table()
    with place.open_input_stream(path) as file:
        for chunk in _chunks(pictures(file)):
            yield pa.table(list(zip(*chunk)), schema=schema)


def _chunks(rows: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    """`AT_ONCE` rows at a time, or fewer of large pictures, of which a small .tar may have many."""
    chunk: list[tuple[str, bytes]] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += len(row[1])
        if len(chunk) == AT_ONCE or size >= LARGEST:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _of_list(source: str) -> Iterator[pa.Table]:
    paths = iter(_content(*_place(source)).decode().splitlines())
    schema = pa.schema([("path", pa.string())])
    yield schema.empty_table()
    with ThreadPoolExecutor(READERS) as readers:
        while chunk := list(islice(paths, AT_ONCE)):
            table = pa.table([chunk], schema=schema)
            if "://" in chunk[0]:
                # fer opens local files itself.
                read = pa.array(readers.map(_picture, chunk), pa.large_binary())
                table = table.append_column("bytes", read)
            yield table


def _picture(address: str) -> bytes | None:
    place, path = _place(address)
    try:
        with place.open_input_stream(path) as file:
            return file.read(LARGEST)
    except FileNotFoundError:
        return None


def _kind(source: str, output: str) -> str:
    """What a source has: "parquet", "tar", or pictures to "list"."""
    _, names = _files(source, without=output)
    kinds = {kind for kind in ("parquet", "tar") if any(n.endswith(f".{kind}") for n in names)}
    if not kinds and any(map(_is_picture, names)):
        return "list"
    if len(kinds) != 1:
        has = "both Parquet and .tar files" if kinds else "no Parquet file, .tar file or picture"
        raise ValueError(f"{source} has {has}")
    return kinds.pop()


def _write_lists(source: str, output: str, pictures: int) -> None:
    place, folder = _place(output)
    root, names = _files(source, hidden=".")
    names = iter([name for name in names if _is_picture(name)])
    number = 0
    while chunk := list(islice(names, pictures)):
        paths = [f"{root}/{name}" for name in chunk]
        for path in paths:
            if len(path.splitlines()) != 1:
                raise ValueError(f"{path!r} can't be in a list of one path a line: rename it")
        _write(place, f"{folder}/{_LISTS}/{number:06}.txt", "\n".join(paths).encode())
        number += 1


def _is_picture(name: str) -> bool:
    return name.rpartition(".")[2].lower() in EXTENSIONS


def _files(
    address: str, *, without: str | None = None, hidden: str = "._"
) -> tuple[str, list[str]]:
    """A folder, and the files below it by their paths from there, sorted. A file is itself.

    Left out are names that begin with one of `hidden`, and what is in the folder `without`.
    """
    place, root = _place(address)
    if place.get_file_info(root).type == fs.FileType.File:
        folder, _, name = address.rpartition("/")
        return folder, [name]
    names = []
    for info in place.get_file_info(fs.FileSelector(root, allow_not_found=True, recursive=True)):
        inside = without is not None and info.path.startswith(without + "/")
        if info.type == fs.FileType.File and not inside:
            name = info.path[len(root) :].lstrip("/")
            if not any(part[0] in hidden for part in name.split("/")):
                names.append(name)
    return address, sorted(names)


def _address(name: PathLike) -> str:
    """An address, or an absolute path."""
    name = os.fspath(name)
    return name.rstrip("/") if "://" in name else os.path.abspath(name)


def _place(address: str) -> tuple[fs.FileSystem, str]:
    """The file system of an address, and the path there."""
    if "://" not in address:
        return fs.LocalFileSystem(), address
    return fs.FileSystem.from_uri(address)


def _content(place: fs.FileSystem, path: str) -> bytes:
    with place.open_input_stream(path) as file:
        return file.read()


def _write(place: fs.FileSystem, path: str, content: bytes) -> None:
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/.{name}.{uuid4().hex}"
    place.create_dir(folder, recursive=True)
    with place.open_output_stream(temporary) as file:
        file.write(content)
    _move(place, temporary, path)


def _move(place: fs.FileSystem, temporary: str, path: str) -> None:
    """Gives a file that is whole its name."""
    if isinstance(place, fs.LocalFileSystem):
        # On the disk before it has the name, or a power cut could leave the name alone.
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
    place.move(temporary, path)
