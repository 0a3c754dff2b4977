"""The operator in the engines that it is for. What is not installed is skipped, or, if FER_REQUIRE
names it, is missing."""

import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import fer_rs

ROOT = Path(__file__).resolve().parents[2]
FACES = sorted((ROOT / "examples/faces").glob("*.png"))
LABELS = [record.faces[0].label for record in fer_rs.Classifier(engine="burn")(FACES)]
BY_NAME = dict(zip((face.stem for face in FACES), LABELS))
EXAMPLES = ROOT / "python/examples"


def engine(name):
    if name in os.environ.get("FER_REQUIRE", "").split(","):
        return __import__(name)
    return pytest.importorskip(name)


pa = engine("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture(scope="module")
def ray():
    ray = engine("ray")
    # Not an interpreter's own thread: what a worker gets is what Ray says.
    os.environ.pop("OMP_NUM_THREADS", None)
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=1 << 30, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def spark():
    engine("pyspark")
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.sql.shuffle.partitions": "2"}
    builder = SparkSession.builder.master("local[2]")
    for key, value in settings.items():
        builder = builder.config(key, value)
    session = builder.getOrCreate()
    yield session
    session.stop()


def pictures(folder, n=4):
    """n Parquet files with all faces and two pictures that can't be read; their rows, by id."""
    folder.mkdir(parents=True)
    rows = {}
    for number in range(n):
        data = [face.read_bytes() for face in FACES] + [b"text", None]
        ids = [f"{number}-{i}" for i in range(len(data))]
        pq.write_table(pa.table({"id": ids, "bytes": pa.array(data, pa.binary())}), folder / f"{number}.parquet")
        rows |= dict(zip(ids, [*LABELS, None, None]))
    return rows


def check(rows, expected):
    rows = list(rows)
    assert {row["id"]: row["label"] for row in rows} == expected
    assert len(rows) == len(expected)
    for row in rows:
        assert (row["error"] is None) == (row["label"] is not None)
        if row["label"] is not None:
            assert len(row["probabilities"]) == 7 and len(row["faces"]) == 1
            assert max(row["probabilities"]) == pytest.approx(row["confidence"])


def test_pyarrow_and_pandas(tmp_path):
    """The kinds of batches that engines have, and the data sets of Hugging Face."""
    batch = fer_rs.Batch(engine="burn")
    data = [face.read_bytes() for face in FACES]
    table = batch(pa.table({"n": range(len(data)), "image": [{"bytes": d, "path": None} for d in data]}))
    assert table["label"].to_pylist() == LABELS and table.column_names[:2] == ["n", "image"]
    assert table.select(fer_rs.Batch.schema().names).schema == fer_rs.Batch.schema()
    face = table["faces"][0].as_py()[0]
    record = fer_rs.Classifier(engine="burn")(data[0]).faces[0].to_dict()
    assert dict(face["probabilities"]) == pytest.approx(record["probabilities"], abs=1e-6)
    assert face["box"] == record["box"] and face["error"] is None
    # Again, with nothing in it: the same types.
    assert batch(pa.table({"bytes": [None]}))["faces"].type == table["faces"].type
    assert batch(table)["label"].to_pylist() == LABELS
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"path": [str(FACES[0]), None, float("nan")], "n": [1, 2, 3]}, index=[7, 8, 9])
    seen = batch(frame)
    assert list(seen.index) == [7, 8, 9] and list(seen["n"]) == [1, 2, 3]
    # pandas has NaN where there is nothing.
    assert list(seen["label"].isna()) == [False, True, True] and seen["label"][7] == LABELS[0]
    assert list(seen["error"].isna()) == [True, False, False] and seen["error"][8] == "no picture"


@pytest.mark.parametrize("batch_format", ["numpy", "pandas"])
def test_rays_map_batches(ray, tmp_path, batch_format):
    expected = pictures(tmp_path / "in")
    seen = ray.data.read_parquet(str(tmp_path / "in")).map_batches(
        fer_rs.Batch,
        fn_constructor_kwargs={"engine": "burn", "drop": True},
        batch_format=batch_format,
        # Ray lists and reads files with CPUs that the workers leave: two here would wait forever.
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=2),
    )
    check(seen.iter_rows(), expected)


def test_rays_images(ray):
    """Arrays, of which Ray has types of its own, in the order in which files are read."""
    images = ray.data.read_images([str(face) for face in FACES], mode="RGB", include_paths=True)
    seen = images.map_batches(
        fer_rs.Batch,
        fn_constructor_kwargs={"engine": "burn", "drop": True},
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=1),
    ).take_all()
    assert {Path(row["path"]).stem: row["label"] for row in seen} == BY_NAME
    assert "image" not in seen[0]


def test_a_worker_of_rays_computes_with_its_cpus(ray):
    @ray.remote
    def threads():
        from fer_rs.workers import threads_given

        # Ray leaves a variable as it is that is set on the whole node.
        os.environ["OMP_NUM_THREADS"] = "64"
        return threads_given()

    asked = {n: ray.get(threads.options(num_cpus=n).remote()) for n in (0.5, 1, 2)}
    assert asked == {0.5: 1, 1: 1, 2: 2}
    from fer_rs.workers import threads_given

    assert threads_given() is None, "the driver has the machine"


def test_rays_example_in_the_docs(tmp_path):
    """As written, with PyArrow's batches."""
    engine("ray")
    text = (ROOT / "docs/python.md").read_text()
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "import ray" in c]
    expected = pictures(tmp_path / "pictures")
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-3000:]
    check(pq.read_table(tmp_path / "emotions").to_pylist(), expected)


def sources(folder):
    """The three kinds of source, each with the faces and a picture that can't be read."""
    files = {face.name: face.read_bytes() for face in FACES} | {"bad.png": b"text"}
    for kind in ("folder", "parquet", "tar"):
        (folder / kind).mkdir(parents=True)
    for name, data in files.items():
        (folder / "folder" / name).write_bytes(data)
    pq.write_table(pa.table({"path": list(files), "bytes": list(files.values())}), folder / "parquet/0.parquet")
    with tarfile.open(folder / "tar/0.tar", "w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def run_example(name, folder, **environment):
    """An example on each kind of source, then with nothing left to do."""
    sources(folder)
    for kind in ("folder", "parquet", "tar"):
        command = [sys.executable, EXAMPLES / name, folder / kind, folder / "out" / kind, "--engine", "burn"]
        ran = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
        assert ran.returncode == 0, ran.stderr[-3000:]
        assert f"1 shards, {len(FACES) + 1} rows, 1 of them with an error" in ran.stdout
        seen = pq.read_table(folder / "out" / kind).to_pylist()
        assert {Path(row["path"]).stem: row["label"] for row in seen} == {**BY_NAME, "bad": None}
    again = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert again.returncode == 0 and "0 shards, 0 rows" in again.stdout


def test_rays_example(ray, tmp_path):
    run_example("ray_images.py", tmp_path, RAY_ADDRESS=ray.get_runtime_context().gcs_address)


def test_dafts_class(tmp_path):
    daft = engine("daft")
    expected = pictures(tmp_path / "in")

    @daft.cls
    class Emotions:
        def __init__(self):
            self.batch = fer_rs.Batch(engine="burn", drop=True)

        @daft.method.batch(return_dtype=daft.DataType.from_arrow_type(pa.struct(fer_rs.Batch.schema())), unnest=True)
        def seen(self, data):
            return self.batch(pa.table({"bytes": data.to_arrow()})).to_struct_array()

    frame = daft.read_parquet(str(tmp_path / "in/*.parquet"))
    check(frame.select(frame["id"], Emotions().seen(frame["bytes"])).to_pylist(), expected)


def test_dafts_example(tmp_path):
    engine("daft")
    run_example("daft_images.py", tmp_path)


def test_sparks_map_in_pandas(spark, tmp_path):
    expected = pictures(tmp_path / "in")
    batch = fer_rs.Batch(engine="burn", drop=True)
    frame = spark.read.parquet(str(tmp_path / "in"))
    seen = frame.mapInPandas(batch.frames, f"id string, {batch.DDL}")
    check((row.asDict(recursive=True) for row in seen.collect()), expected)
    seen.write.parquet(str(tmp_path / "out"))
    check(pq.read_table(tmp_path / "out").to_pylist(), expected)


def test_a_worker_of_sparks_computes_with_its_cpus(spark):
    def threads(frames):
        import pandas
        from fer_rs.workers import threads_given

        os.environ["OMP_NUM_THREADS"] = "64"
        for frame in frames:
            yield pandas.DataFrame({"threads": [threads_given()] * len(frame)})

    assert {row.threads for row in spark.range(4).mapInPandas(threads, "threads long").collect()} == {1}


def test_sparks_example(spark, tmp_path):
    run_example("spark_images.py", tmp_path, PYSPARK_SUBMIT_ARGS="--master local[2] --conf spark.ui.enabled=false pyspark-shell")
