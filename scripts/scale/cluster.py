"""A Ray cluster of several nodes on one machine: each in network, process and mount namespaces of its own.

Needs root, `ip` (iproute2) and `unshare` (util-linux). The nodes are joined by a switch, which is in a
namespace too, so that nothing of the machine's own network changes.
"""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path

HEAD = "10.77.0.1"
STARTED = "Ray runtime started"
# By which the nodes of this cluster know each other.
TOKEN = secrets.token_hex(32)


def missing():
    """Why there can be no cluster here, or None."""
    if os.geteuid() != 0:
        return "namespaces need root"
    for program in ("ip", "unshare", "nsenter"):
        if not shutil.which(program):
            return f"the program {program} is missing"
    name = f"fer{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        return f"no network namespace: {tried.stderr.strip()}"
    ip("netns", "del", name)
    return None


class Cluster:
    """A head without CPUs, and workers; a context that leaves nothing behind."""

    def __init__(self, python, folder):
        self.python = str(python)
        self.folder = Path(folder)
        self.prefix = f"fer{os.getpid()}"
        self.switch = f"{self.prefix}-switch"
        self.namespaces = []
        self.nodes = {}

    def __enter__(self):
        Path("/tmp/ray").mkdir(exist_ok=True)
        try:
            self._namespace(self.switch)
            ip("-n", self.switch, "link", "add", "switch", "type", "bridge")
            ip("-n", self.switch, "link", "set", "switch", "up")
            self.start("head", HEAD, "--head", "--port=6379", "--num-cpus=0", "--include-dashboard=false")
            self.wait("head")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in list(self.nodes):
            self.kill(name)
        for name in self.namespaces:
            ip("netns", "del", name)

    def start_worker(self, name, number, cpus=1):
        self.start(name, f"10.77.0.{number}", f"--address={HEAD}:6379", f"--num-cpus={cpus}")

    def start(self, name, address, *options):
        """Starts a node. It has its own /tmp/ray, as on a machine of its own."""
        namespace = f"{self.prefix}-{name}"
        self._namespace(namespace)
        ip("link", "add", "eth0", "netns", namespace, "type", "veth", "peer", "name", name, "netns", self.switch)
        ip("-n", namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", namespace, "link", "set", "eth0", "up")
        ip("-n", self.switch, "link", "set", name, "master", "switch", "up")
        own = self.folder / name
        own.mkdir()
        ray = [
            self.python, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats",
            f"--node-ip-address={address}", "--object-store-memory=1000000000", *options,
        ]
        with open(self.folder / f"{name}.log", "wb") as log:
            self.nodes[name] = subprocess.Popen(
                [
                    "ip", "netns", "exec", namespace,
                    "unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=SIGKILL",
                    "sh", "-c", 'mount --bind "$0" /tmp/ray && exec "$@"', own, *ray,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(),
            )  # fmt: skip

    def wait(self, *names, seconds=120):
        """Waits until nodes have joined the cluster."""
        deadline = time.monotonic() + seconds
        for name in names:
            log = self.folder / f"{name}.log"
            while STARTED not in log.read_text(errors="replace"):
                if self.nodes[name].poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"node {name} did not start:\n{log.read_text(errors='replace')[-2000:]}")
                time.sleep(0.1)

    def kill(self, name):
        """Ends all processes of a node at once, as a power cut would: SIGKILL."""
        node = self.nodes.pop(name)
        node.send_signal(signal.SIGKILL)
        node.wait()

    def link(self, name, state):
        """Connects a node ("up") or cuts its link ("down")."""
        ip("-n", self.switch, "link", "set", name, state)

    def run(self, *command, **options):
        """Starts a program on the head."""
        shell = self.nodes["head"].pid
        (inside,) = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        enter = ["nsenter", f"--target={inside}", "--net", "--pid", "--mount"]
        variables = {**environment(), "RAY_ADDRESS": f"{HEAD}:6379"}
        return subprocess.Popen([*enter, *map(str, command)], env=variables, **options)

    def _namespace(self, name):
        ip("netns", "add", name)
        self.namespaces.append(name)
        ip("-n", name, "link", "set", "lo", "up")


def environment():
    """Without what an outer shell may say about Ray or threads. Workers do not give way to other programs."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("RAY_") and k != "OMP_NUM_THREADS"}
    return {**ours, "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}


def ip(*arguments):
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextlib.contextmanager
def link_cut(cluster, name, seconds):
    """Cuts a node's link for some seconds."""
    cluster.link(name, "down")
    try:
        time.sleep(seconds)
        yield
    finally:
        cluster.link(name, "up")
