"""What every area needs: rows with units, timing of processes, peers from the package registries."""

import http.client
import json
import math
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Unmeasured(Exception):
    """Something could not be measured, and why."""


class Figure:
    """A number with its unit: `12ms`, `3.4MB`, `5.5s`."""

    SCALES = {
        "time": [("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0)],
        "size": [("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9)],
        "rate": [("B/s", 1.0), ("kB/s", 1e3), ("MB/s", 1e6), ("GB/s", 1e9)],
        "count": [("", 1.0)],
        "share": [("", 1.0)],
        "per_second": [("/s", 1.0)],
    }

    def __init__(self, value, kind):
        self.value, self.kind = float(value), kind

    @classmethod
    def parse(cls, text):
        number, unit = re.fullmatch(r"([0-9.]+)(.*)", text).groups()
        unit, factor = ("s", 60.0) if unit == "min" else (unit, 1.0)
        for kind, scale in cls.SCALES.items():
            for name, size in scale:
                if name == unit:
                    return cls(float(number) * factor * size, kind)
        raise ValueError(text)

    def __str__(self):
        scale = self.SCALES[self.kind]
        name, size = scale[0]
        for unit, bound in scale:
            # Below two seconds milliseconds are read more easily.
            if abs(self.value) >= (2 * bound if unit == "s" else bound):
                name, size = unit, bound
        number = self.value / size
        digits = 4 if self.kind == "share" else 0 if number >= 100 or self.kind == "count" else 1 if number >= 10 else 2
        return f"{number:.{digits}f}{name}"


def seconds(value):
    return Figure(value, "time")


def size(value):
    return Figure(value, "size")


class Table:
    """The rows of an area, printed as they come."""

    def __init__(self, area):
        self.area, self.good, self.short, self.missing = area, 0, 0, 0

    def row(self, name, ours, goal, peer=None):
        """`goal` is a bound (`< 150ms`, `> 100MB/s`) or, with a peer, on the ratio ours/peer (`< 1.0x`)."""
        relation, bound = goal.split(" ", 1)
        parts, measured = [f"row={name}", f"ours={ours}"], ours.value
        if peer:
            peer_name, figure = peer
            ratio = ours.value / figure.value if figure.value else float("inf")
            parts += [f"peer={peer_name}:{figure}", f"ratio={ratio:.2f}"]
        if bound.endswith("x"):
            limit, measured = float(bound[:-1]), ratio
        else:
            limit = Figure.parse(bound).value
        met = measured < limit if relation == "<" else measured > limit
        self.good, self.short = self.good + met, self.short + (not met)
        print(" ".join([*parts, f"goal={relation}{bound}", "ok" if met else "short"]), flush=True)

    def give_up(self, name, why):
        self.missing += 1
        print(f"bench/run: {name} could not be measured: {why}", file=sys.stderr, flush=True)

    def try_row(self, name, goal, measure):
        """Adds a row; what cannot be measured is told, and the other rows go on."""
        try:
            self.row(name, measure(), goal)
        except (Unmeasured, OSError, subprocess.SubprocessError) as why:
            self.give_up(name, str(why))

    def close(self):
        rows = self.good + self.short
        print(f"area={self.area} rows={rows} ok={self.good} short={self.short} unmeasured={self.missing}", flush=True)
        return 1 if self.missing else 0


def tell(text):
    print(f"  {text}", file=sys.stderr, flush=True)


def run(command, codes=(0,), **options):
    """Runs a command quietly; its output is shown only when it ends with another code than expected."""
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode not in codes:
        tail = done.stdout.decode(errors="replace").strip().splitlines()[-12:]
        raise Unmeasured("\n".join([f"{' '.join(map(str, command))} ended with {done.returncode}", *tail]))
    return done.stdout.decode(errors="replace")


def wall(command, codes=(0,), cwd=None, env=None):
    """Wall time of one process, from before it starts until it has ended, in seconds."""
    arguments = [str(c) for c in command]
    begun = time.perf_counter()
    code = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=cwd, env=env).returncode
    took = time.perf_counter() - begun
    if code not in codes:
        raise Unmeasured(f"{' '.join(arguments)} ended with {code}")
    return took


def median(command, times, codes=(0,), warm=2, **options):
    for _ in range(warm):
        wall(command, codes, **options)
    return seconds(statistics.median(wall(command, codes, **options) for _ in range(times)))


def paired(first, second, times, codes=(0,), warm=3):
    """Median of the differences of two commands that take turns: what the machine does besides falls out."""
    for _ in range(warm):
        wall(first, codes), wall(second, codes)
    differences = []
    for turn in range(times):
        if turn % 2:
            later = wall(second, codes)
            differences.append(wall(first, codes) - later)
        else:
            differences.append(wall(first, codes) - wall(second, codes))
    return statistics.median(differences)


def peak_memory(command, codes=(0,)):
    """The largest resident set of a process or of any one of its children, in bytes, with its wall time."""
    # Only a process's own ended children count: so a child of ours runs it and tells.
    teller = (
        "import os,resource,subprocess,sys,time\n"
        "b=time.perf_counter()\n"
        "c=subprocess.run(sys.argv[1:],stdin=subprocess.DEVNULL,stdout=subprocess.DEVNULL,stderr=subprocess.DEVNULL).returncode\n"
        "print(c,resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,time.perf_counter()-b)\n"
    )
    said = run([sys.executable, "-c", teller, *command]).split()
    if int(said[0]) not in codes:
        raise Unmeasured(f"{' '.join(map(str, command))} ended with {said[0]}")
    return int(said[1]) * 1024, float(said[2])


def build(target=None):
    """Builds the release program and returns its path and how long it took."""
    env = dict(os.environ)
    if target:
        env["CARGO_TARGET_DIR"] = str(target)
    folder = pathlib.Path(env.get("CARGO_TARGET_DIR", ROOT / "target"))
    begun = time.perf_counter()
    run(["cargo", "build", "--release", "--locked"], cwd=ROOT, env=env)
    return (ROOT / folder / "release" / "cathedral").resolve(), time.perf_counter() - begun


def program(options):
    """The program that was named, else one that is built now."""
    if options.binary:
        binary = options.binary.resolve()
    else:
        tell("building the release program")
        binary, _ = build()
    if not binary.is_file():
        raise Unmeasured(f"there is no program at {binary}")
    return binary


def tools():
    """Where peers are installed, kept from run to run."""
    kept = os.environ.get("CATHEDRAL_TOOLS") or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "cathedral-tools"
    path = pathlib.Path(kept) / "peers"
    path.mkdir(parents=True, exist_ok=True)
    return path


def peer_crate(name, version):
    """A peer from crates.io, as a program; built once and kept."""
    place = tools() / f"{name}-{version}"
    if not (place / "bin").is_dir():
        tell(f"installing the peer {name} {version}")
        run(["cargo", "install", name, "--version", version, "--locked", "--root", place])
    return place / "bin"


def peer_python(name, version):
    """A peer from PyPI in an environment of its own; returns its interpreter."""
    place = tools() / f"py-{name}-{version}"
    if not (place / "bin" / "python").exists():
        tell(f"installing the peer {name} {version}")
        run([sys.executable, "-m", "venv", place])
        run([place / "bin" / "python", "-m", "pip", "install", "-q", f"{name}=={version}"])
    return place / "bin" / "python"


def peer_node(name, version):
    """A peer from npm in a folder of its own; returns the folder."""
    place = tools() / f"node-{name.replace('/', '-')}-{version}"
    if not (place / "node_modules").is_dir():
        tell(f"installing the peer {name} {version}")
        run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", place, f"{name}@{version}"])
    return place


def peer_system(program, package):
    """A peer of the system: there, or said how to get it."""
    found = shutil.which(program)
    if not found:
        raise Unmeasured(f"{program} is not installed: apt-get install {package}")
    return found


def cpu_seconds(pid):
    """CPU time that a process has used so far, in seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid):
    """The resident set of a process, in bytes."""
    line = next(line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def percentile(values, share):
    """The value that this share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


class Served:
    """A hub that serves a folder on a free port of 127.0.0.1, with a token; ended when left."""

    def __init__(self, binary, hub, scope="admin"):
        self.binary, self.hub, self.scope = binary, hub, scope

    def __enter__(self):
        begun = time.perf_counter()
        command = [self.binary, "-C", self.hub, "up", "--listen", "127.0.0.1:0", "--jsonl"]
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        line = self.process.stdout.readline()
        if not line:
            raise Unmeasured(f"cathedral up in {self.hub} ended with {self.process.wait()}")
        address = json.loads(line)["data"]["address"].removeprefix("http://")
        self.host, port = address.rsplit(":", 1)
        self.port = int(port)
        self.get("/readyz")
        self.ready_after = time.perf_counter() - begun
        made = run([self.binary, "-C", self.hub, "token", "new", "--scope", self.scope, "--label", "bench", "--json"])
        self.token = json.loads(made)["data"]["token"]
        return self

    @property
    def pid(self):
        return self.process.pid

    def connect(self):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=30)
        connection.connect()
        # What is written in two pieces must not wait for an acknowledgement.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def get(self, path, headers=(), connection=None, codes=(200,), method="GET", body=None):
        """One request on a connection of its own, or on one that is kept; returns headers and body."""
        connection = connection or self.connect()
        connection.request(method, path, body=body, headers=dict(headers))
        answer = connection.getresponse()
        content = answer.read()
        if answer.status not in codes:
            raise Unmeasured(f"{method} {path} answered {answer.status}: {content[:200]!r}")
        return answer.headers, content

    def new_token(self, scope):
        headers = self.bearer(**{"content-type": "application/json"})
        body = json.dumps({"scope": scope, "label": "bench"})
        return json.loads(self.get("/api/v1/tokens", headers, None, (200, 201), "POST", body)[1])["data"]["token"]

    def bearer(self, **more):
        return {"authorization": f"Bearer {self.token}", **more}

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Scratch:
    """A folder for data that is measured; gone at the end unless it is to be kept."""

    def __init__(self, keep):
        self.keep = keep
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="cathedral-bench-"))

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        if self.keep:
            tell(f"kept: {self.path}")
        else:
            shutil.rmtree(self.path, ignore_errors=True)
