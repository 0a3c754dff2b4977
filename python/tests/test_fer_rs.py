"""The wheel fer-rs, as its users have it: installed, without the checkout on Python's path."""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import fer_rs
from fer_rs import deepface

ROOT = Path(__file__).resolve().parents[2]
FACES = sorted((ROOT / "examples/faces").glob("*.png"))
ASTRONAUT = ROOT / "examples/photos/astronaut.jpg"


@pytest.fixture(scope="module")
def classifier():
    return fer_rs.Classifier(engine="burn")


def program(*arguments, **options):
    command = [sys.executable, "-m", "fer_rs", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def infer(*arguments):
    run = program("infer", "-q", "--engine", "burn", "--format", "json", *arguments)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_records_equal_the_programs(classifier):
    for record, expected in zip(classifier([ASTRONAUT, *FACES]), infer(ASTRONAUT, *FACES)):
        got = record.to_dict()
        assert got["path"] == expected["path"]
        assert [f["label"] for f in got["faces"]] == [f["label"] for f in expected["faces"]]
        for face, other in zip(got["faces"], expected["faces"]):
            assert face["box"] == pytest.approx(other["box"], abs=1e-4)
            assert face["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_a_photograph_in_five_lines(classifier):
    record = classifier(ASTRONAUT)
    (face,) = record.faces
    assert face.label == "happy" and 0.9 < face.confidence <= 1
    assert (record.width, record.height) == (512, 512)
    assert 170 < face.box.x < 190 and len(face.landmarks) == 5 and face.score > 0.8
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_kinds_of_pictures_give_the_same(classifier):
    image = pytest.importorskip("PIL.Image")
    # A PNG without color, whose pixels all ways of reading share.
    path = FACES[3]
    expected = classifier.predict_proba(path)
    picture = image.open(path)
    array = np.asarray(picture.convert("L"))
    kinds = {
        "str": str(path),
        "bytes": path.read_bytes(),
        "PIL": picture,
        "[height, width]": array,
        "[height, width, 1]": array[:, :, None],
        "rgb": np.repeat(array[:, :, None], 3, axis=2),
        "not contiguous": np.asfortranarray(array),
    }
    floats = fer_rs.Classifier(engine="burn", value_range=(-1, 1))
    rows = {name: classifier.predict_proba(kind) for name, kind in kinds.items()}
    rows["floats"] = floats.predict_proba(array.astype(np.float32) / 127.5 - 1)
    # The kernels of a first picture and of a later one may round differently.
    wrong = {n: row for n, row in rows.items() if not np.allclose(row, expected, atol=1e-6, rtol=0)}
    assert not wrong


def test_arrays_are_read_where_they_are(classifier):
    values = np.random.default_rng(1).integers(0, 256, (4, 96, 60, 3), np.uint8)
    readonly = values.copy()
    readonly.flags.writeable = False
    unaligned = np.frombuffer(b"-" + values.tobytes(), np.uint8, offset=1).reshape(values.shape)
    views = {
        "read-only": readonly,
        "unaligned": unaligned,
        "mirrored twice": values[:, ::-1].copy()[:, ::-1],
        "a part": np.pad(values, ((1, 1), (7, 5), (3, 2), (0, 0)))[1:-1, 7:-5, 3:-2],
        "every other": np.repeat(values, 2, axis=2)[:, :, ::2],
        "of another order": np.asfortranarray(values),
        "planes": np.ascontiguousarray(values.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1),
    }
    expected = classifier.predict_proba([picture.copy() for picture in values])
    wrong = [
        name
        for name, view in views.items()
        if not np.allclose(classifier.predict_proba(view), expected, atol=1e-6, rtol=0)
    ]
    assert not wrong
    # Repeated without being in memory more than once.
    repeated = np.broadcast_to(values[0, :1], (96, 60, 3))
    assert classifier(repeated).faces[0].label == classifier(repeated.copy()).faces[0].label


def test_an_iterator_may_use_one_array_again(classifier):
    values = np.random.default_rng(2).integers(0, 256, (5, 48, 48), np.uint8)

    def frames():
        frame = np.empty((48, 48), np.uint8)
        for value in values:
            frame[:] = value
            yield frame

    expected = classifier.predict_proba(values)
    np.testing.assert_allclose(classifier.predict_proba(frames()), expected, atol=1e-6)
    streamed = [record.faces[0].probabilities for record in classifier.stream(frames(), batch=2)]
    got = [list(probabilities.values()) for probabilities in streamed]
    np.testing.assert_allclose(got, expected, atol=1e-6)


MEMORY = """
import numpy as np, fer_rs

def peak():
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

classifier = fer_rs.Classifier(engine="burn", threads=2, **%(arguments)r)
batch = np.full((80, 1000, 1000, 3), 7, np.uint8)
# What the model itself needs for a batch, and a worker for a picture.
%(call)s(np.zeros((80, 48, 48, 3), np.uint8))
%(call)s(batch[:8])
before = peak()
assert len(%(call)s(batch)) == 80
print((peak() - before) / batch.nbytes)
"""


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("classifier.predict_proba", {}),
        ("classifier.predict_proba", {"channel_order": "bgr"}),
        ("(lambda batch: classifier(list(batch)))", {"faces": "never"}),
    ],
)
def test_memory_does_not_grow_by_a_batch(call, arguments):
    script = MEMORY % {"call": call, "arguments": arguments}
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 0.2


def test_pixels_may_change_while_they_are_read(classifier):
    """Nobody promises which pixels are seen then, but there is an answer."""
    pictures = np.zeros((300, 64, 64, 3), np.uint8)
    stop = threading.Event()

    def write():
        value = 0
        while not stop.is_set():
            value = (value + 1) % 256
            pictures.fill(value)

    thread = threading.Thread(target=write)
    thread.start()
    rows = classifier.predict_proba(pictures)
    stop.set()
    thread.join()
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)


def test_what_is_one_picture_and_what_several(classifier):
    rows = [
        ((48, 48), 1),
        ((48, 48, 1), 1),
        ((48, 48, 3), 1),
        ((5, 48, 48), 5),
        ((5, 48, 48, 3), 5),
        ((2, 48, 48, 1), 2),
    ]
    wrong = {}
    for shape, pictures in rows:
        got = classifier(np.zeros(shape, np.uint8))
        n = len(got) if isinstance(got, list) else 1
        if n != pictures:
            wrong[shape] = n
    assert not wrong
    assert isinstance(classifier([FACES[0]]), list)
    assert classifier([]) == []
    assert classifier.predict_proba([]).shape == (0, 7)


def test_bgr_is_not_rgb():
    picture = np.zeros((48, 48, 3), np.uint8)
    picture[:24, :, 0] = 200
    picture[24:, :, 2] = 255
    rgb = fer_rs.Classifier(engine="burn")
    bgr = fer_rs.Classifier(engine="burn", channel_order="bgr")
    assert not np.array_equal(rgb.predict_proba(picture), bgr.predict_proba(picture))
    turned = np.ascontiguousarray(picture[:, :, ::-1])
    assert np.array_equal(rgb.predict_proba(picture), bgr.predict_proba(turned))


@pytest.mark.parametrize(
    ("picture", "error"),
    [
        (np.zeros((48, 48)), ValueError),
        (np.zeros((48, 48), np.int32), TypeError),
        (np.zeros((48, 48, 4), np.uint8), ValueError),
        (np.zeros((0, 48), np.uint8), (TypeError, ValueError)),
        ([np.zeros(48, np.uint8)], ValueError),
        ([np.zeros((3, 48, 48, 3), np.uint8)], ValueError),
        ([7], TypeError),
        ([None], TypeError),
    ],
)
def test_what_is_not_a_picture(classifier, picture, error):
    with pytest.raises(error):
        classifier(picture)


def test_pil_images_of_more_than_8_bits(classifier):
    image = pytest.importorskip("PIL.Image")
    for kind in (np.uint16, np.int32, np.float32):
        picture = image.fromarray(np.full((48, 48), 1000, kind))
        with pytest.raises(TypeError, match=picture.mode):
            classifier(picture)


def test_a_truncated_pil_image_is_a_record(classifier):
    image = pytest.importorskip("PIL.Image")
    cut = image.open(io.BytesIO(FACES[0].read_bytes()[:500]))
    records = classifier([cut, FACES[0]])
    assert [record.error is None for record in records] == [False, True]
    assert records[0].path == "<PIL image>" and "PIL can't read it" in records[0].error
    with pytest.raises(fer_rs.ImageError, match="picture 0"):
        classifier.predict_proba([cut])
    rows = classifier.predict_proba([cut, FACES[0]], errors="nan")
    assert np.isnan(rows[0]).all() and not np.isnan(rows[1]).any()
    batch = fer_rs.Batch(engine="burn")({"image": [cut, image.open(FACES[0])]})
    assert [e is None for e in batch["error"]] == [False, True]


def test_floats_outside_their_range():
    classifier = fer_rs.Classifier(engine="burn", value_range=(0, 1))
    for wrong in [np.full((48, 48), 255.0), np.full((48, 48), -1.0), np.full((48, 48), np.nan)]:
        with pytest.raises(ValueError):
            classifier(wrong)


def test_unreadable_pictures_are_records(classifier, tmp_path):
    (tmp_path / "cut.png").write_bytes(FACES[0].read_bytes()[:200])
    records = classifier([tmp_path / "cut.png", "no/such.png", b"text", FACES[0]])
    assert [record.error is None for record in records] == [False, False, False, True]
    assert "No such file" in records[1].error and records[1].faces == ()
    with pytest.raises(fer_rs.ImageError, match="picture 1"):
        classifier.predict_proba([FACES[0], b"text"])
    rows = classifier.predict_proba([FACES[0], b"text"], errors="nan")
    assert np.isnan(rows[1]).all() and not np.isnan(rows[0]).any()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"model": "no-such-model"}, fer_rs.ModelError),
        ({"engine": "tensorflow"}, ValueError),
        ({"provider": "nonsense"}, ValueError),
        ({"engine": "burn", "provider": "cuda"}, ValueError),
        ({"faces": "sometimes"}, ValueError),
        ({"threads": 0}, ValueError),
        ({"channel_order": "grb"}, ValueError),
        ({"min_score": 2}, ValueError),
        ({"max_faces": 0}, ValueError),
        ({"detector": ROOT / "models/fer.onnx"}, fer_rs.ModelError),
        ({"engine": "ort", "onnxruntime": "/no/such/library.so"}, fer_rs.ModelError),
    ],
)
def test_wrong_arguments(arguments, error):
    with pytest.raises(error) as raised:
        fer_rs.Classifier(**arguments)
    assert "--" not in str(raised.value), "advice about options is the program's"


def test_pickled_by_its_arguments():
    classifier = fer_rs.Classifier(engine="burn", faces="never", max_faces=None)
    again = pickle.loads(pickle.dumps(classifier))
    assert np.array_equal(again.predict_proba(FACES), classifier.predict_proba(FACES))
    assert again(ASTRONAUT).faces[0].score is None


def test_the_environment_says_how_many_threads(monkeypatch):
    given = {"3": 3, "1000": 256, "0": None, "all": None}
    for text, threads in given.items():
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert fer_rs.workers.threads_given() == threads
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    # Where it is unpickled, the environment may say something else.
    arguments = fer_rs.Classifier(engine="burn").__reduce__()[1][0]
    assert arguments["threads"] is None
    assert fer_rs.Classifier(engine="burn", threads=2).__reduce__()[1][0]["threads"] == 2


def test_threads_share_a_classifier(classifier):
    expected = classifier.predict_proba(FACES)
    rows = [None] * 4

    def work(index):
        rows[index] = classifier.predict_proba(FACES)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(rows))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for row in rows:
        np.testing.assert_allclose(row, expected, atol=1e-6)


def test_pythons_lock_is_released(classifier):
    ticks = []
    stop = threading.Event()

    def tick():
        while not stop.wait(0.001):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    classifier.predict_proba(np.zeros((2000, 48, 48), np.uint8))
    stop.set()
    thread.join()
    assert len(ticks) > 3


def test_a_stream_is_lazy_and_in_order(classifier):
    taken = []

    def pictures():
        for path in FACES * 3:
            taken.append(path)
            yield path

    stream = classifier.stream(pictures(), batch=4)
    assert next(stream).path == str(FACES[0]) and len(taken) == 4
    assert [record.path for record in stream] == [str(p) for p in (FACES * 3)[1:]]


def test_deepfaces_shape():
    (result,) = fer_rs.analyze(str(ASTRONAUT))
    assert result["dominant_emotion"] == "happy"
    assert set(result["region"]) == {"x", "y", "w", "h", "left_eye", "right_eye"}
    assert sum(result["emotion"].values()) == pytest.approx(100, abs=1e-3)
    # In the picture the person's left eye is on the right.
    assert result["region"]["left_eye"][0] > result["region"]["right_eye"][0]
    nobody = np.full((300, 300, 3), 90, np.uint8)
    with pytest.raises(ValueError, match="no face"):
        fer_rs.analyze(nobody)
    (whole,) = fer_rs.analyze(nobody, enforce_detection=False)
    assert whole["region"]["w"] == 300 and whole["face_confidence"] == 0
    with pytest.raises(ValueError, match="emotion alone"):
        fer_rs.analyze(str(ASTRONAUT), actions=["age"])
    (same,) = fer_rs.analyze(str(ASTRONAUT), actions="emotion")
    assert same["region"] == result["region"]
    with pytest.raises(TypeError, match="one picture"):
        fer_rs.analyze([str(ASTRONAUT)])


def test_deepfaces_boxes_lie_in_the_picture(classifier):
    image = pytest.importorskip("PIL.Image")
    # The face's left and upper part are cut off.
    cut = np.asarray(image.open(ASTRONAUT).convert("RGB"))[90:, 200:]
    for result in fer_rs.analyze(cut, classifier=classifier, enforce_detection=False):
        region = result["region"]
        assert region["x"] >= 0 and region["x"] + region["w"] <= cut.shape[1]
        assert region["y"] >= 0 and region["y"] + region["h"] <= cut.shape[0]
    box = fer_rs.Box(-10.4, -3, 50, 200)
    face = fer_rs.Face("sad", 1.0, {"sad": 1.0}, box, 0.9, ((-1, 5),) * 5, None)
    region = deepface._result(face, 100, 80)["region"]
    eyes = {"left_eye": (0, 5), "right_eye": (0, 5)}
    assert region == {"x": 0, "y": 0, "w": 40, "h": 80, **eyes}


def test_batches_keep_rows_and_columns():
    operator = pickle.loads(pickle.dumps(fer_rs.Batch(engine="burn")))
    paths = np.array([str(FACES[0]), "no.png", str(ASTRONAUT), None], dtype=object)
    batch = operator({"path": paths, "id": np.arange(4)})
    assert list(batch["id"]) == [0, 1, 2, 3]
    assert [e is None for e in batch["error"]] == [True, False, True, False]
    assert batch["label"][2] == "happy" and batch["label"][1] is None
    assert len(batch["probabilities"][0]) == 7
    images = operator({"image": np.zeros((2, 48, 48), np.uint8)})
    assert len(images["label"]) == 2 and images["error"][0] is None
    # What is at hand goes before what is still to be read.
    both = operator({"path": ["no.png"], "bytes": [FACES[0].read_bytes()]})
    assert list(both["label"]) == [FACES[0].stem]
    # One array that is not a picture does not stop the others.
    odd = np.empty(2, dtype=object)
    odd[:] = [np.zeros((48, 48, 4), np.uint8), np.zeros((48, 48), np.uint8)]
    assert [e is None for e in operator({"image": odd})["error"]] == [False, True]
    assert "bytes" not in fer_rs.Batch(engine="burn", drop=True)({"bytes": [b""]})
    with pytest.raises(TypeError, match="not a picture"):
        operator({"bytes": [7]})
    with pytest.raises(KeyError, match="bytes, image or path"):
        operator({"url": paths})


def test_the_program_is_installed():
    fer = Path(sys.executable).with_name("fer")
    run = subprocess.run([fer, "--version"], capture_output=True, text=True)
    assert run.stdout == f"fer {fer_rs.__version__}\n"
    assert program("infer").returncode == 2
    assert program("infer", "no.png").returncode == 2


def test_the_environments_onnxruntime_is_found():
    pytest.importorskip("onnxruntime")
    assert " burn " in fer_rs.Classifier().description, "compiled-in models run as such"
    classifier = fer_rs.Classifier(engine="ort")
    assert "site-packages" in classifier.description and " ort cpu " in classifier.description
    burn = fer_rs.Classifier(engine="burn")
    expected = burn.predict_proba(FACES)
    np.testing.assert_allclose(classifier.predict_proba(FACES), expected, atol=1e-5)


def test_train_evaluate_export_parity(tmp_path):
    assert program("data", "synth", tmp_path / "faces", "--count", 140).returncode == 0
    tomllib = pytest.importorskip("tomllib")
    first = fer_rs.train(tmp_path / "faces", tmp_path / "first", preset="tiny", epochs=1)
    recipe = tomllib.loads((first / "config.toml").read_text())
    recipe["epochs"] = 2
    run = fer_rs.train(tmp_path / "faces", tmp_path / "run", recipe)
    assert tomllib.loads((run / "config.toml").read_text())["epochs"] == 2
    report = fer_rs.evaluate(tmp_path / "faces", run)
    assert 0 <= report["accuracy"] <= 1
    model = fer_rs.export(run, tmp_path / "own.onnx")
    assert model.is_file()
    with pytest.raises(fer_rs.FerError, match="data"):
        fer_rs.train(tmp_path / "no-data", tmp_path / "other", preset="tiny")
    assert fer_rs.parity(FACES, reference="fer@burn", candidate="fer@burn:flex")


def test_convert(tmp_path):
    model = ROOT / "tests/golden/convert"
    keras = sorted(model.glob("*.k3.keras"))[0]
    with pytest.raises(fer_rs.FerError, match="no.keras"):
        fer_rs.convert(tmp_path / "no.keras", tmp_path / "no.onnx")
    onnx = fer_rs.convert(keras, tmp_path / "model.onnx", scale="1/255", labels="a,b,c")
    assert onnx.is_file()


@pytest.mark.parametrize("group", [False, True])
def test_ctrl_c_saves_a_training(tmp_path, group):
    assert program("data", "synth", tmp_path / "faces", "--count", 700).returncode == 0
    script = (
        "import fer_rs, sys\n"
        f"fer_rs.train({str(tmp_path / 'faces')!r}, {str(tmp_path / 'run')!r},"
        " preset='tiny', epochs=500)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # A shell's background jobs ignore the signal, and so would this.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").rglob("*.ckpt")) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    # A terminal and Jupyter send it to all processes of the group.
    os.killpg(process.pid, signal.SIGINT) if group else process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=120)[1]
    assert b"KeyboardInterrupt" in stderr and b"stopped and saved" in stderr
    said = program("train", "--resume", tmp_path / "run", "--epochs", 2)
    assert said.returncode == 2, "a run is resumed as it was begun"
    assert list((tmp_path / "run").rglob("*.ckpt"))


def test_bytes_like_objects(classifier):
    data = FACES[0].read_bytes()
    kinds = [data, bytearray(data), memoryview(data)]
    labels = {classifier(kind).faces[0].label for kind in kinds}
    assert len(labels) == 1
    assert classifier(io.BytesIO(data).getvalue()).path == "<bytes>"
    assert os.fspath(FACES[0]) == classifier(FACES[0]).path
