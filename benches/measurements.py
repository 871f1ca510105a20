"""What is measured, by name. Each gives (proxy, figures) for one round."""

import json
import statistics
import time

from arrangement import CLIENT_NET, LOAD_CORE, QUERY, SERVER_PORT, binary, wait_for
from proxies import Director, Journaled, Nginx, NoProxy

CROWD = ["--client-net", CLIENT_NET]
WARM_UP = 1.0


def saturated(clients, servers, proxies=(Nginx, Director, NoProxy)):
    """As many datagrams as the proxy takes."""

    def measure(arrangement, seconds, _):
        for proxy in proxies:
            flow = ["--in-flight", "256", *CROWD, "--clients", str(clients)]
            with proxy(arrangement, servers) as running:
                yield proxy.name, play(arrangement, running, flow, seconds)

    return measure


def half(clients, servers):
    """Half of what the director takes: what is lost, and what overtakes what."""

    def measure(arrangement, seconds, findings):
        rounds = findings[f"saturated-{clients}"][Director.name]
        rate = statistics.median(figures["per_second"] for figures in rounds) / 2
        flow = ["--rate", str(rate), *CROWD, "--clients", str(clients)]
        for proxy in (Nginx, Director):
            with proxy(arrangement, servers) as running:
                yield proxy.name, play(arrangement, running, flow, seconds)

    return measure


def light(arrangement, seconds, _):
    """10,000 datagrams a second over 100 sessions."""
    flow = ["--rate", "10000", *CROWD, "--clients", "100"]
    for proxy in (Nginx, Director, NoProxy):
        with proxy(arrangement, 100, realtime=True) as running:
            yield proxy.name, play(arrangement, running, flow, seconds)


def opening(clients, proxies=(Nginx, Director, NoProxy)):
    """New sessions, as fast as they come: from a client's first datagram to its first reply."""

    def measure(arrangement, _, __):
        for proxy in proxies:
            with Servers(arrangement), proxy(arrangement, 100):
                words = ["run", *proxy.entry, *CROWD, "--clients", str(clients), "--duration", "0"]
                found = finish(arrangement, arrangement.load(*words))
            figures = {"per_second": found["opening"]["per_second"]}
            figures["p99_us"] = found["opening"]["latency_us"]["p99"]
            if found["tokens"]:
                figures["tokens_per_second"] = found["tokens"]["per_second"]
            yield proxy.name, figures

    return measure


def crowd(arrangement, seconds, _):
    """100,000 sessions on 1,000 servers: memory and descriptors."""
    flow = [*CROWD, "--clients", "100000", "--rate", "10000"]
    with Director(arrangement, 1_000) as running:
        idle = running.memory()
        figures = play(arrangement, running, flow, max(seconds, 10))
        memory = {"memory_mib": running.memory() - idle, "idle_mib": idle, "descriptors": running.descriptors()}
        yield Director.name, {**memory, **figures}


def restart(arrangement, *_):
    """kill -9 with 100,000 sessions on 1,000 servers, and how long the next process takes."""
    with Journaled(arrangement, 1_000) as running, Servers(arrangement):
        load = arrangement.load("run", *running.entry, *CROWD, "--clients", "100000", "--duration", "0")
        finish(arrangement, load)
        # The journal looks every 40 ms; its last transaction is over long before this.
        time.sleep(2)
        before = running.size()
        running.process.kill()
        running.process.wait()
        begun = time.monotonic()
        running.start_again()
        restored = wait_for(lambda: running.restored(), 60)
        took = time.monotonic() - begun
        yield running.name, {"restored": restored, "ms": took * 1000, "journal_kib": before / 1024}


def queries(arrangement, seconds, _):
    """20,000 queries a second on kept connections, with 10,000 servers."""
    with Director(arrangement, 10_000, realtime=True, token_ttl=2):
        entry = ["--director", QUERY, *Director.entry[3:], "--rate", "20000"]
        load = arrangement.load("query", *entry, "--warm-up", "3", "--duration", seconds, realtime=True)
        found = finish(arrangement, load)
        yield Director.name, {"per_second": found["per_second"], **quantiles(found["latency_us"])}


MEASUREMENTS = {
    "saturated-100": saturated(100, 100),
    "saturated-10000": saturated(10_000, 100),
    "half-100": half(100, 100),
    "half-10000": half(10_000, 100),
    "light": light,
    "opening": opening(15_000),
    "crowd": crowd,
    "queries": queries,
    "journal-saturated": saturated(100, 100, (Director, Journaled)),
    "journal-restart": restart,
    "journal-opening": opening(60_000, (Director, Journaled)),
}

# What a measurement takes its rate from.
NEEDS = {"half-100": "saturated-100", "half-10000": "saturated-10000"}


def play(arrangement, proxy, flow, seconds):
    """Lets clients play, and counts the proxy's CPU in the midst of it."""
    with Servers(arrangement, proxy.realtime):
        flow = [*flow, "--warm-up", str(WARM_UP), "--duration", str(seconds + WARM_UP)]
        load = arrangement.load("run", *proxy.entry, *flow, realtime=proxy.realtime)
        await_opening(load)
        time.sleep(WARM_UP + 0.2)
        usage = getattr(proxy, "usage", None)
        cost = {"ns_per_datagram": usage.nanos_per_datagram(seconds)} if usage else {}
        found = finish(arrangement, load)["play"]
    counts = {name: found[name] for name in ("sent", "unsent", "lost", "duplicated", "reordered", "behind_us")}
    return {**cost, "per_second": found["answered"] / found["seconds"], **quantiles(found["round_trip_us"]), **counts}


def await_opening(load):
    said = []
    for line in load.stderr:
        said.append(line)
        if "sessions opened" in line:
            return
    raise SystemExit("bench: the generator ended early: " + "".join(said))


def finish(arrangement, load):
    out, err = load.communicate()
    arrangement.processes.remove(load)
    if load.returncode != 0:
        raise SystemExit(f"bench: the generator failed: {err}")
    return json.loads(out)


def quantiles(found):
    return {f"{name}_us": found[name] for name in ("p50", "p99", "p999")}


class Servers:
    """The game servers, while a `with` lasts: one process that answers at every address it is asked at."""

    def __init__(self, arrangement, realtime=False):
        self.arrangement, self.realtime = arrangement, realtime

    def __enter__(self):
        words = ["echo", "--listen", f"0.0.0.0:{SERVER_PORT}", "--name", "servers", "--id", "1"]
        words = [binary("udp-director-load"), *words]
        self.process = self.arrangement.start("server", LOAD_CORE, *words, realtime=self.realtime)

    def __exit__(self, *_):
        self.arrangement.stop(self.process)
