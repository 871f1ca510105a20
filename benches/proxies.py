"""What is measured: the director, nginx stream, and the way without a proxy."""

import json
import re
import resource
import shutil
import subprocess
from pathlib import Path
from string import Template

from arrangement import DATA, PROXY_CORE, QUERY, SERVER_PORT, Usage, binary, children, wait_for

FOLDER = Path(__file__).parent
DESCRIPTORS = resource.getrlimit(resource.RLIMIT_NOFILE)[1]


class Proxy:
    """A proxy that runs while a `with` lasts."""

    def __init__(self, arrangement, servers, realtime=False, **settings):
        self.arrangement, self.servers, self.settings = arrangement, servers, settings
        self.realtime = realtime

    def __enter__(self):
        self.configure()
        self.process = self.arrangement.start("director", PROXY_CORE, *self.command(), realtime=self.realtime)
        wait_for(self.is_ready)
        self.usage = Usage(self.process)
        return self

    def __exit__(self, *_):
        self.arrangement.stop(self.process)

    def configure(self):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    def is_ready(self):
        raise NotImplementedError

    def fill(self, template, **values):
        text = Template((FOLDER / template).read_text()).substitute(values)
        path = self.arrangement.folder / template
        path.write_text(text)
        return path

    def listens(self, table, port):
        """Whether somebody listens on that port in the director's namespace."""
        if self.process.poll() is not None:
            raise SystemExit(f"bench: {self.name} has ended early")
        tables = self.arrangement.output("director", "cat", f"/proc/net/{table}", f"/proc/net/{table}6")
        return f":{port:04X} 0" in tables


class Nginx(Proxy):
    """nginx's stream module, one worker."""

    name = "nginx"
    entry = [DATA, "--no-token"]

    def configure(self):
        servers = "\n".join(f"        server {addr}:{SERVER_PORT};" for addr in addrs(self.servers))
        self.config = self.fill("nginx.conf", folder=self.arrangement.folder, servers=servers,
                                descriptors=DESCRIPTORS, connections=4 * DESCRIPTORS)

    def command(self):
        return ["nginx", "-c", self.config]

    def is_ready(self):
        return self.listens("udp", 7777) and children(self.process.pid)


class Director(Proxy):
    """The director, one worker; every client comes with a token of its own."""

    name = "director"
    entry = [DATA, "--director", QUERY, "--query", '{"resourceType": "server"}']

    def configure(self):
        objects = self.arrangement.folder / "objects.json"
        objects.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": pods(self.servers)}))
        ttl = self.settings.get("token_ttl", 60)
        self.config = self.fill("director.yaml", objects=objects, token_ttl=ttl, journal=self.journal())

    def journal(self):
        return ""

    def command(self):
        return [binary("udp-director"), "--log", "warn", "serve", "--config", self.config]

    def is_ready(self):
        return self.listens("udp", 7777) and self.listens("tcp", 9000)

    def memory(self):
        """Resident memory in MiB."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024

    def descriptors(self):
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


class Journaled(Director):
    """The director with a journal, which begins empty."""

    name = "director, journal"

    def journal(self):
        folder = self.arrangement.folder / "journal"
        shutil.rmtree(folder, ignore_errors=True)
        return f"journal: {{dir: {folder}}}"

    def size(self):
        """Bytes of the journal."""
        return (self.arrangement.folder / "journal/sessions.redb").stat().st_size

    def start_again(self):
        """Starts another process after this one was killed."""
        self.arrangement.processes.remove(self.process)
        self.process = self.arrangement.start("director", PROXY_CORE, *self.command(), realtime=self.realtime)

    def restored(self):
        """How many sessions the journal had, once the director is ready."""
        ask = ["curl", "--silent", "--fail", "http://10.0.1.1:9090"]
        try:
            self.arrangement.output("director", *ask[:3], ask[3] + "/readyz")
            page = self.arrangement.output("director", *ask[:3], ask[3] + "/metrics")
        except subprocess.CalledProcessError:
            return 0
        found = re.search(r'restored_sessions_total\{outcome="restored"\} (\d+)', page)
        return int(found.group(1)) if found else 0


class NoProxy(Proxy):
    """Plain routing: clients reach the first server themselves."""

    name = "no proxy"
    entry = [f"10.2.0.1:{SERVER_PORT}", "--no-token"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def addrs(count):
    return [f"10.2.{n // 250}.{n % 250 + 1}" for n in range(count)]


def pods(count):
    return [pod(n, addr) for n, addr in enumerate(addrs(count))]


def pod(number, addr):
    ready = [{"type": "Ready", "status": "True"}]
    port = {"name": "game", "containerPort": SERVER_PORT, "protocol": "UDP"}
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": f"server-{number}", "namespace": "games", "uid": f"uid-{number}",
                     "labels": {"app": "server", "map": f"map-{number % 10}"}},
        "spec": {"containers": [{"name": "server", "ports": [port]}]},
        "status": {"phase": "Running", "podIP": addr, "conditions": ready},
    }
