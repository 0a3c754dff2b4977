"""Times `fer watch` on clips of 1280x720 pixels against the same work in Python, in alternating rounds.

    python3 scripts/bench/video.py --detector face_detection_yunet_2023mar.onnx [--rounds 5] [--seconds 10]
    python3 scripts/bench/video.py --live [--seconds 30]
    python3 scripts/bench/video.py --soak MINUTES

Contenders of the first form, each a process of its own that writes JSON lines to a pipe: fer with detection on every frame and on
every third one, through ONNX Runtime with the library of Python's package and compiled in, also with --annotate; and Python with OpenCV's
VideoCapture and FaceDetectorYN and ONNX Runtime (peer_video.py) with detection on every frame. The clips are the example's
photograph on gray, once and five times, moving. The environment of Python is that of environment.py.

--live writes frames at 30 a second into fer's standard input, and measures the time from the moment a frame is written to the moment
its record is read. --soak reads a looping live source and prints fer's memory and what was passed over: a frame that is neither a
record nor counted is an error.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
HERE = Path(__file__).resolve().parent
PHOTO = ROOT / "examples/photos/astronaut.jpg"
RATE = 30


def main():
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="fer-video-") as folder:
        folder = Path(folder)
        if options.live:
            live(options, folder)
        elif options.soak:
            soak(options, folder)
        else:
            against_python(options, folder)


def clip(folder, faces, seconds):
    """A clip in which so many copies of the photograph move."""
    path = folder / f"faces-{faces}.mp4"
    side = 600 if faces == 1 else 250
    columns = 1280 // side
    places = [(i % columns * side, i // columns * (side + 20)) for i in range(faces)]
    graph = f"color=gray:s=1280x720:r={RATE}[v0];[0:v]scale={side}:-1,split={faces}" + "".join(f"[p{i}]" for i in range(faces))
    for i, (x, y) in enumerate(places):
        graph += f";[v{i}][p{i}]overlay=x={x}+15*(1+sin(t*2+{i})):y={y}+15*(1+cos(t*2)):shortest=0[v{i + 1}]"
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-loop", "1", "-r", str(RATE), "-i", PHOTO, "-filter_complex", graph]
    command += ["-map", f"[v{faces}]", "-t", str(seconds), "-pix_fmt", "yuv420p", path]
    subprocess.run([str(word) for word in command], check=True)
    return path


def against_python(options, folder):
    import environment

    python = environment.python(environment.ONNX_RUNTIME)
    library = environment.inventory(python, "onnxruntime")["ort_lib"]
    print(f"{options.seconds} s of 1280x720, {environment.cores()} threads, {options.rounds} rounds")
    print("| faces | contender | frames/s: median (least–most) | times Python |")
    print("|---:|---|---:|---:|")
    for faces in (1, 5):
        video = clip(folder, faces, options.seconds)
        fer = [options.fer, "watch", "--quiet", "--engine", "ort", "--ort-lib", library, "--meta", "temperature=1", video]
        compiled = [options.fer, "watch", "--quiet", "--engine", "burn", "--meta", "temperature=1", video]
        annotate = ["--annotate", folder / "out.mp4"]
        contenders = {
            "Python": [python, HERE / "peer_video.py", options.detector, options.model, video, environment.cores()],
            "fer": fer,
            "fer, detection on every third frame": [*fer, "--detect-every", "3"],
            "fer, annotated": [*fer, *annotate],
            "fer, detection on every third frame, annotated": [*fer, "--detect-every", "3", *annotate],
            "fer, compiled in": compiled,
            "fer, compiled in, detection on every third frame": [*compiled, "--detect-every", "3"],
            "fer, compiled in, annotated": [*compiled, *annotate],
        }
        rates = {name: [] for name in contenders}
        for turn in range(options.rounds + 1):
            names = list(contenders)
            for name in names[turn % len(names):] + names[:turn % len(names)]:
                rate = run(contenders[name], faces)
                # The first round fills caches.
                if turn:
                    rates[name].append(rate)
        for name, values in rates.items():
            ratio = statistics.median(a / b for a, b in zip(values, rates["Python"]))
            print(f"| {faces} | {name} | {statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f}) | {ratio:.2f} |")


def run(command, faces):
    """Frames a second of a run, from its start to its end."""
    began = time.perf_counter()
    done = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - began
    records = [json.loads(line) for line in done.stdout.splitlines()]
    found = statistics.mean(len(record["faces"]) for record in records)
    if abs(found - faces) > 0.2 * faces:
        sys.exit(f"error: {found:.2f} faces a frame, not {faces}: {command}")
    return len(records) / seconds


def live(options, folder):
    video = clip(folder, 1, options.seconds)
    raw = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", video, "-f", "yuv4mpegpipe", "-pix_fmt", "yuv420p", "-"]
    source = subprocess.Popen([str(word) for word in raw], stdout=subprocess.PIPE)
    command = [options.fer, "watch", "--quiet", "-"]
    fer = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    written, read = {}, {}

    def records():
        for line in fer.stdout:
            read[json.loads(line)["frame"]] = time.perf_counter()

    reader = threading.Thread(target=records)
    reader.start()
    fer.stdin.write(source.stdout.readline())
    size = len("FRAME\n") + 1280 * 720 * 3 // 2
    due = time.perf_counter()
    number = 0
    while True:
        frame = source.stdout.read(size)
        if len(frame) < size:
            break
        # The model is loaded with the first frames, which are not counted.
        due = max(due + 1 / RATE, time.perf_counter() - 0.2)
        time.sleep(max(0, due - time.perf_counter()))
        written[number] = time.perf_counter()
        fer.stdin.write(frame)
        fer.stdin.flush()
        number += 1
    fer.stdin.close()
    reader.join()
    delays = sorted(1000 * (read[n] - written[n]) for n in written if n >= 3 * RATE and n in read)
    print(f"{len(delays)} frames at {RATE} a second: latency {statistics.median(delays):.0f} ms (median), "
          f"{delays[int(0.95 * len(delays))]:.0f} ms (95 %), {delays[-1]:.0f} ms (most)")


def soak(options, folder):
    video = clip(folder, 1, 10)
    source = f"lavfi:movie={video}:loop=0,setpts=N/{RATE}/TB"
    duration = 60 * options.soak
    command = [options.fer, "watch", "--quiet", source, "--duration", duration]
    command += ["--timeline", folder / "t.png", "--summary", folder / "s.json"]
    fer = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE)
    next_frame = records = skipped = 0
    shown = time.monotonic()
    for line in fer.stdout:
        record = json.loads(line)
        if record["frame"] != next_frame + record["skipped"]:
            sys.exit(f"error: frame {record['frame']} comes after {next_frame - 1}, and {record['skipped']} are counted")
        next_frame, records, skipped = record["frame"] + 1, records + 1, skipped + record["skipped"]
        if time.monotonic() - shown >= 60:
            shown = time.monotonic()
            print(f"{record['time']:.0f} s: {memory(fer.pid):.0f} MiB, {records} records, {skipped} passed over", flush=True)
    print(f"{next_frame} frames: {records} records, {skipped} passed over; exit code {fer.wait()}")


def memory(pid):
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detector", type=Path, help="OpenCV Zoo's face_detection_yunet_2023mar.onnx")
    parser.add_argument("--model", type=Path, default=ROOT / "models/fer.onnx")
    parser.add_argument("--fer", type=Path, default=ROOT / "target/release/fer")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--soak", type=float, metavar="MINUTES")
    options = parser.parse_args()
    if not (options.live or options.soak or options.detector):
        parser.error("name the detector's file with --detector")
    return options


if __name__ == "__main__":
    main()
