"""Three network namespaces (client, director, server) on two cores, and the processes in them.

    client (c0 10.0.1.2) --veth-- (d0 10.0.1.1) director (d1 10.0.2.1) --veth-- (s0 10.0.2.2) server
    10.1.0.0/16 is local to the client, 10.2.0.0/16 to the server: as many players and game servers

The proxy has one core; generator and game servers have the other. A veth pair delivers a datagram on the
core that sends it, up to the receiver's socket: so the proxy's core does that work for what the proxy
sends, and not for what it receives, which is as much. Receive packet steering would turn that round, at
the price of an interrupt to the other core for each datagram: up to 5 us in a virtual machine, for every
proxy alike, which hides what is to be measured.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOAD_CORE, PROXY_CORE = 0, 1
CLIENT_NET = "10.1.0.0/16"
DATA = "10.0.1.1:7777"
QUERY = "10.0.1.1:9000"
SERVER_PORT = 7000
SENT_PACKETS = 9  # its place in a line of /proc/net/dev
SYSCTLS = {
    "net/core/rmem_max": 16 << 20,
    "net/core/wmem_max": 16 << 20,
    "net/core/netdev_max_backlog": 20_000,
}


class Arrangement:
    """The namespaces, while a `with` lasts; then all is as before."""

    def __enter__(self):
        if os.geteuid() != 0 or os.cpu_count() < 2:
            raise SystemExit("bench: needs root, and two cores")
        self.lock = lock()
        install_nginx()
        self.names = {part: f"bench-{part}-{os.getpid()}" for part in ("client", "director", "server")}
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        self.processes, self.before = [], {}
        self.shares = Shares()
        for end in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(end, lambda *_: (_ for _ in ()).throw(SystemExit("bench: interrupted")))
        try:
            self.build()
        except BaseException as error:
            self.__exit__(type(error))
            raise
        return self

    def __exit__(self, error=None, *_):
        if error is not None:
            print(self.log().decode(errors="replace"), file=sys.stderr)
        for process in list(self.processes):
            self.stop(process)
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)
        for path, value in self.before.items():
            path.write_text(value)
        self.shares.close()
        shutil.rmtree(self.folder)

    def log(self):
        """The end of what the processes have said."""
        path = self.folder / "processes.log"
        return path.read_bytes()[-4_000:] if path.exists() else b""

    def build(self):
        for path, value in SYSCTLS.items():
            path = Path("/proc/sys") / path
            self.before[path] = path.read_text()
            path.write_text(f"{max(value, int(self.before[path]))}\n")
        for name in self.names.values():
            run("ip", "netns", "add", name)
        self.link("client", "c0", "10.0.1.2/24", "d0", "10.0.1.1/24")
        self.link("server", "s0", "10.0.2.2/24", "d1", "10.0.2.1/24")
        self.ip("client", "route", "add", "local", CLIENT_NET, "dev", "lo")
        self.ip("client", "route", "add", "default", "via", "10.0.1.1")
        self.ip("server", "route", "add", "local", "10.2.0.0/16", "dev", "lo")
        self.ip("server", "route", "add", "default", "via", "10.0.2.1")
        self.ip("director", "route", "add", CLIENT_NET, "via", "10.0.1.2")
        self.ip("director", "route", "add", "10.2.0.0/16", "via", "10.0.2.2")
        self.sh("director", "echo 1 > /proc/sys/net/ipv4/ip_forward")

    def link(self, part, outer, outer_addr, inner, inner_addr):
        run("ip", "link", "add", outer, "netns", self.names[part], "type", "veth",
            "peer", "name", inner, "netns", self.names["director"])
        for place, device, addr in ((part, outer, outer_addr), ("director", inner, inner_addr)):
            self.ip(place, "addr", "add", addr, "dev", device)
            self.ip(place, "link", "set", device, "up")
            self.ip(place, "link", "set", "lo", "up")
            self.sh(place, "for conf in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $conf; done")

    def ip(self, part, *words):
        run("ip", "-n", self.names[part], *words)

    def sh(self, part, script):
        run("ip", "netns", "exec", self.names[part], "sh", "-e", "-c", script)

    def output(self, part, *words):
        words = ["ip", "netns", "exec", self.names[part], *words]
        return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout

    def command(self, part, core, words, realtime):
        # A realtime priority takes whatever else the machine does out of latencies.
        prefix = ["chrt", "-f", "10"] if realtime else []
        return ["ip", "netns", "exec", self.names[part], "taskset", "-c", str(core), *prefix, *map(str, words)]

    def start(self, part, core, *words, realtime=False):
        """Starts a process that lasts until `stop`."""
        with open(self.folder / "processes.log", "ab") as log:
            process = subprocess.Popen(
                self.command(part, core, words, realtime), stdout=log, stderr=log, preexec_fn=self.shares.join)
        self.processes.append(process)
        return process

    def stop(self, process):
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.processes.remove(process)

    def load(self, *words, realtime=False):
        """Starts the generator; `finish` gives what it found."""
        words = [binary("udp-director-load"), *words, "--json"]
        process = subprocess.Popen(
            self.command("client", LOAD_CORE, words, realtime),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=self.shares.join)
        self.processes.append(process)
        return process


class Shares:
    """A cpu group that goes before everything else on the machine; none where groups are not to be had."""

    def __init__(self):
        self.group = None
        for parent, knob, most in (("/sys/fs/cgroup/cpu", "cpu.shares", 262_144),
                                   ("/sys/fs/cgroup", "cpu.weight", 10_000)):
            if (Path(parent) / "cgroup.procs").exists():
                self.group = Path(parent) / f"bench-{os.getpid()}"
                self.group.mkdir()
                self.set(knob, most)
                self.set("cpu.rt_runtime_us", 900_000)
                return

    def set(self, knob, value):
        path = self.group / knob
        if path.exists():
            path.write_text(str(value))

    def join(self):
        if self.group:
            (self.group / "cgroup.procs").write_text(str(os.getpid()))

    def close(self):
        if self.group:
            self.group.rmdir()


def lock():
    """Two at a time would measure each other."""
    file = open("/run/lock/udp-director-bench", "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SystemExit("bench: another one is running") from None
    return file


def binary(name):
    return ROOT / "target/release" / name


def run(*words):
    subprocess.run(words, check=True)


def install_nginx():
    if not Path("/usr/lib/nginx/modules/ngx_stream_module.so").exists():
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", "nginx-light", "libnginx-mod-stream")


def wait_for(what, seconds=10):
    """Waits until `what` gives something true, and gives that."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.02)
    raise SystemExit(f"bench: waited {seconds} s in vain")


class Usage:
    """What a proxy's core has done so far: see docs/performance.md, "How CPU is counted"."""

    def __init__(self, process):
        self.pids = [process.pid, *children(process.pid)]
        softirq = next(p for p in Path("/proc").glob("[0-9]*/comm")
                       if p.read_text() == f"ksoftirqd/{PROXY_CORE}\n")
        self.ksoftirqd = softirq.parent

    def nanos_per_datagram(self, seconds):
        nanos, sent = self.nanos(), self.sent()
        time.sleep(seconds)
        later = self.nanos()
        return sum(spent - nanos.get(task, 0) for task, spent in later.items()) / (self.sent() - sent)

    def nanos(self):
        """How long each thread of the proxy has run, and the kernel's thread for receive work."""
        tasks = [task for pid in self.pids for task in Path(f"/proc/{pid}/task").iterdir()]
        return dict(filter(None, map(run_time, [*tasks, self.ksoftirqd])))

    def sent(self):
        """Datagrams that the proxy has sent on, in both directions."""
        devices = Path(f"/proc/{self.pids[0]}/net/dev").read_text()
        return sum(int(fields.split()[SENT_PACKETS]) for fields in re.findall(r"d[01]:(.*)", devices))


def run_time(task):
    """A thread and its nanoseconds; None when it has ended."""
    try:
        return task, int((task / "schedstat").read_text().split()[0])
    except OSError:
        return None


def children(pid):
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]
