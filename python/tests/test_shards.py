"""Pictures in shards, without an engine: what is done, done again, and left out."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import fer_rs

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
from fer_rs import shards  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
FACES = sorted((ROOT / "examples/faces").glob("*.png"))
LABELS = [record.faces[0].label for record in fer_rs.Classifier(engine="burn")(FACES)]
BATCH = fer_rs.Batch(engine="burn", drop=True)


def write_parquet(path, faces, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {"bytes": [face and face.read_bytes() for face in faces], **columns}
    pq.write_table(pa.table(table), path)


def write_tar(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def run(source, output, batch=BATCH, **options):
    reports = [shards.classify(batch, *s) for s in shards.begin(source, output, batch, **options)]
    shards.finish(output, reports)
    return reports


def rows(output):
    files = sorted(p for p in Path(output).rglob("*.parquet") if not p.name.startswith("."))
    return pa.concat_tables([pq.read_table(f) for f in files]).to_pylist()


def test_parquet_files_become_parquet_files(tmp_path):
    write_parquet(tmp_path / "in/a/0.parquet", [*FACES, None], id=range(len(FACES) + 1))
    write_parquet(tmp_path / "in/1.parquet", [])
    reports = run(tmp_path / "in", tmp_path / "out")
    assert [(r.rows, r.errors, r.problem) for r in reports] == [(0, 0, None), (len(FACES) + 1, 1, None)]
    table = pq.read_table(tmp_path / "out/a/0.parquet")
    assert table.column_names == ["id", *fer_rs.Batch.schema().names]
    assert table["label"].to_pylist()[:-1] == LABELS
    last = table.to_pylist()[-1]
    assert last["label"] is None and last["faces"] == [] and last["error"] == "no picture"
    assert json.loads(table.schema.metadata[b"fer.labels"]) == fer_rs.Classifier(engine="burn").labels
    empty = pq.read_schema(tmp_path / "out/1.parquet")
    assert empty.field("label").type == pa.string() and "bytes" not in empty.names


def test_a_few_large_pictures_of_a_tar_are_in_memory_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "LARGEST", 1000)
    write_tar(tmp_path / "a.tar", {f"{n}.png": bytes(600) for n in range(5)} | {"\udcff.png": b"x"})
    tables = list(shards._of_tar(str(tmp_path / "a.tar")))
    assert [len(table) for table in tables] == [0, 2, 2, 2]
    assert tables[-1]["path"].to_pylist() == ["4.png", "\\udcff.png"]


def test_what_is_done_is_not_done_again(tmp_path):
    for number, face in enumerate(FACES):
        write_parquet(tmp_path / f"in/{number}.parquet", [face])
    run(tmp_path / "in", tmp_path / "out")
    before = {p.name: p.stat().st_ino for p in (tmp_path / "out").glob("*.parquet")}
    (tmp_path / "out/1.parquet").unlink()
    # What a killed worker leaves.
    (tmp_path / "out/.1.parquet.0123").write_bytes(b"half")
    (report,) = run(tmp_path / "in", tmp_path / "out")
    assert report.shard.endswith("in/1.parquet")
    after = {p.name: p.stat().st_ino for p in (tmp_path / "out").glob("*.parquet")}
    assert [n for n in before if before[n] != after[n]] in ([], ["1.parquet"])
    assert not list((tmp_path / "out").glob(".*"))
    assert len(rows(tmp_path / "out")) == len(FACES)
    # A worker that was thought dead does its shard too.
    again = shards.classify(BATCH, str(tmp_path / "in/1.parquet"), str(tmp_path / "out/1.parquet"))
    assert again == report and len(rows(tmp_path / "out")) == len(FACES)
    # More shards may come.
    write_parquet(tmp_path / "in/more.parquet", FACES)
    assert [r.rows for r in run(tmp_path / "in", tmp_path / "out")] == [len(FACES)]


def test_a_damaged_shard_is_left_out(tmp_path, capsys):
    write_parquet(tmp_path / "in/0.parquet", FACES)
    whole = (tmp_path / "in/0.parquet").read_bytes()
    (tmp_path / "in/1.parquet").write_bytes(whole[: len(whole) // 2])
    reports = run(tmp_path / "in", tmp_path / "out")
    assert [r.problem is None for r in reports] == [True, False]
    assert "1.parquet" in capsys.readouterr().out
    assert sorted(os.listdir(tmp_path / "out")) == ["0.parquet", "_fer.json"]
    # Mended, it is still to do.
    (tmp_path / "in/1.parquet").write_bytes(whole)
    assert [r.rows for r in run(tmp_path / "in", tmp_path / "out")] == [len(FACES)]


def test_tar_files(tmp_path):
    files = {f"{face.stem}.png": face.read_bytes() for face in FACES}
    files |= {"sad.cls": b"5", "broken.JPG": b"text"}
    write_tar(tmp_path / "in/000.tar", files)
    (report,) = run(tmp_path / "in", tmp_path / "out")
    assert (report.rows, report.errors) == (len(FACES) + 1, 1)
    got = {row["path"]: row["label"] for row in rows(tmp_path / "out")}
    assert got == {**dict(zip((f.name for f in FACES), LABELS)), "broken.JPG": None}
    tar = (tmp_path / "in/000.tar").read_bytes()
    (tmp_path / "in/001.tar").write_bytes(tar[: len(tar) // 2 + 100])
    (report,) = run(tmp_path / "in", tmp_path / "out")
    assert report.problem and not (tmp_path / "out/001.parquet").exists()


def test_a_folder_of_pictures_is_listed_once(tmp_path):
    (tmp_path / "in").mkdir()
    for face in FACES:
        (tmp_path / "in" / face.name).write_bytes(face.read_bytes())
    (tmp_path / "in/notes.txt").write_text("not a picture")
    (tmp_path / "in/bad.jpg").write_text("not a picture")
    todo = shards.begin(tmp_path / "in", tmp_path / "out", BATCH, pictures=3)
    assert len(todo) == -(-(len(FACES) + 1) // 3)
    shards.classify(BATCH, *todo[0])
    (tmp_path / "in/a_later.png").write_bytes(FACES[0].read_bytes())
    (tmp_path / "in/bad.jpg").unlink()
    reports = run(tmp_path / "in", tmp_path / "out", pictures=7)
    assert [r.shard for r in reports] == [s.source for s in todo[1:]]
    got = rows(tmp_path / "out")
    wanted = {str(tmp_path / "in" / name) for name in ["bad.jpg", *(f.name for f in FACES)]}
    assert {row["path"] for row in got} == wanted and len(got) == len(wanted)


def test_pictures_have_the_names_that_the_program_goes_by(tmp_path):
    (tmp_path / "in").mkdir()
    others = ("txt", "mp4", "svg", "pdf", "psd", "csv", "")
    for extension in [*shards.EXTENSIONS, *others, "JPG"]:
        (tmp_path / "in" / f"a.{extension}").write_bytes(b"text")
    listed = subprocess.run(
        [sys.executable, "-m", "fer_rs", "infer", "-q", "--engine", "burn", "--format", "jsonl", tmp_path / "in"],
        capture_output=True,
        text=True,
    )
    (shard,) = shards.begin(tmp_path / "in", tmp_path / "out", BATCH)
    paths = Path(shard.source).read_text().splitlines()
    assert sorted(paths) == sorted(json.loads(line)["path"] for line in listed.stdout.splitlines())
    assert len(paths) == len(shards.EXTENSIONS) + 1


def test_an_output_belongs_to_its_source_and_operator(tmp_path):
    write_parquet(tmp_path / "in/0.parquet", FACES)
    write_parquet(tmp_path / "other/0.parquet", FACES)
    run(tmp_path / "in", tmp_path / "out")
    with pytest.raises(ValueError, match="source"):
        shards.begin(tmp_path / "other", tmp_path / "out", BATCH)
    with pytest.raises(ValueError, match="operator"):
        shards.begin(tmp_path / "in", tmp_path / "out", fer_rs.Batch(faces="never", drop=True))
    # How many threads compute does not matter.
    assert shards.begin(tmp_path / "in", tmp_path / "out", fer_rs.Batch(engine="burn", drop=True, threads=1)) == []
    # An output inside its source is not read.
    run(tmp_path / "in", tmp_path / "in/out")
    assert run(tmp_path / "in", tmp_path / "in/out") == []


def test_sources_without_pictures(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match="no Parquet file"):
        shards.begin(tmp_path / "in", tmp_path / "out", BATCH)
    write_parquet(tmp_path / "in/0.parquet", FACES)
    write_tar(tmp_path / "in/0.tar", {})
    with pytest.raises(ValueError, match="both"):
        shards.begin(tmp_path / "in", tmp_path / "out", BATCH)
    with pytest.raises(KeyError, match="face_image"):
        run(tmp_path / "in/0.parquet", tmp_path / "out", fer_rs.Batch(column="face_image"))
    assert not list((tmp_path / "out").glob("*.parquet")) and not list((tmp_path / "out").glob(".*"))


def test_an_address_is_a_place(tmp_path):
    """As on an object store, by the scheme that PyArrow has for this machine."""
    (tmp_path / "in").mkdir()
    for face in FACES:
        (tmp_path / "in" / face.name).write_bytes(face.read_bytes())
    run(f"file://{tmp_path}/in", f"file://{tmp_path}/out")
    assert sorted(row["label"] for row in rows(tmp_path / "out")) == sorted(LABELS)
