"""See `run`. Needs nothing but Python's standard library."""

import datetime
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

alidade, poll_devices, root, trials = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])


class Rain:
    """Between the daemon and its controller: passes every line, and puts rain into one StatusA when it is asked to."""

    def __init__(self, upstream):
        self.upstream, self.armed, self.rained, self.closes = upstream, False, None, []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            host, port = self.upstream.rsplit(":", 1)
            server = socket.create_connection((host, int(port)))
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.asked, args=(client, server), daemon=True).start()
            threading.Thread(target=self.answered, args=(server, client), daemon=True).start()

    def asked(self, client, server):
        for line in client.makefile("rb"):
            if line.startswith(b"Dome{CLOSE}"):
                now = time.perf_counter()
                with self.lock:
                    if self.rained is not None:
                        self.closes.append(now - self.rained)
                        self.rained, self.armed = None, False
            server.sendall(line)

    def answered(self, server, client):
        for line in server.makefile("rb"):
            with self.lock:
                wet = self.armed and line.count(b";") == 51
                if wet:
                    fields = line.split(b";")
                    fields[13] = b"5.00"
                    line = b";".join(fields)
            client.sendall(line)
            if wet:
                # The status is complete with its other two lines; they follow at once.
                with self.lock:
                    if self.rained is None and self.armed:
                        self.rained = time.perf_counter()


def midnight():
    now = datetime.datetime.now(datetime.timezone.utc)
    seconds = now.hour * 3600 + now.minute * 60 + now.second
    return (15.0 - seconds / 240.0 + 180.0) % 360.0 - 180.0


def roof(address):
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=5) as s:
        s.sendall(b"StatusB\n")
        return {"10": "closed", "01": "open", "11": "between"}.get(s.makefile().readline()[80:82], "fault")


def until(what, so, seconds=120.0):
    end = time.monotonic() + seconds
    while not so():
        if time.monotonic() > end:
            raise SystemExit(f"not within {seconds} s: {what}")
        time.sleep(0.02)


folder = tempfile.mkdtemp(prefix="alidade-bench-")
children = []
try:
    site = open(f"{root}/config/simulated.toml").read()
    site = site.replace("latitude_deg = 43.9317", "latitude_deg = 5.0")
    site = site.replace("longitude_deg = 5.7133", "longitude_deg = %.1f" % midnight())
    open(f"{folder}/site.toml", "w").write(site)
    open(f"{folder}/hardware.toml", "w").write("[plc]\ntravel_s = 0.2\n")
    hardware = subprocess.Popen(
        [alidade, "simulate-devices", "--json", "--config", f"{folder}/site.toml", "--hardware", f"{folder}/hardware.toml"],
        stdout=subprocess.PIPE, text=True, cwd=root)
    children.append(hardware)
    places = {name: at["tcp"] for name, at in json.loads(hardware.stdout.readline()).items() if "tcp" in at}

    rain = Rain(places["plc"])
    config = site
    for device, there in [("plc", rain.address)] + [(d, places[t]) for d, t in [
            ("mount", "mount"), ("camera_vis", "camera_vis"), ("camera_nir", "camera_nir"), ("wheel_vis", "wheel_vis"),
            ("wheel_nir", "wheel_nir"), ("focuser", "focuser"), ("mast", "station")]]:
        head = f"[devices.{device}]"
        before, after = config.split(head)
        config = before + head + after.replace('"simulated"', f'"tcp://{there}"', 1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = config.replace("sqlite://var/", f"sqlite://{folder}/").replace('data_dir = "var"', f'data_dir = "{folder}"')
    config = config.replace('"var/alerts"', f'"{folder}/alerts"').replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    config = re.sub(r"good_delay_s = [\d.]+", "good_delay_s = 1.0", config)
    config = re.sub(r"(bias|dark|flat)_count = \d+", r"\1_count = 0", config)
    config = config.replace("poll_s = 1.0\ntimeout_s = 3.0", "poll_s = 0.2\ntimeout_s = 3.0")
    config = config.replace("slit_tolerance_deg = 3.0", "slit_tolerance_deg = 3.0\nleast_travel_s = 0.0", 1)
    open(f"{folder}/alidade.toml", "w").write(config)
    daemon = subprocess.Popen([alidade, "run", "--config", f"{folder}/alidade.toml"], cwd=root,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    children.append(daemon)
    for _ in range(trials):
        until("the daemon opens", lambda: roof(places["plc"]) == "open")
        time.sleep(0.35)
        with rain.lock:
            rain.armed = True
        count = len(rain.closes)
        until("the close command", lambda: len(rain.closes) > count, 30.0)
        until("the roof is closed", lambda: roof(places["plc"]) == "closed", 30.0)
    milliseconds = sorted(1000.0 * s for s in rain.closes)
    daemon.terminate()
    daemon.wait()
    arguments = [places[d] for d in ("plc", "mount", "station")]
    polled = json.loads(subprocess.run([poll_devices, *arguments, "20"], check=True, capture_output=True, text=True).stdout)
    print(json.dumps({
        "unsafe_reading_to_close_command_ms": {
            "trials": len(milliseconds),
            "p50": round(milliseconds[len(milliseconds) // 2], 2),
            "p99": round(milliseconds[min(len(milliseconds) - 1, int(len(milliseconds) * 0.99))], 2),
            "goal_p99": 10,
        },
        "polling": polled,
        "goal_core_percent_of_64_devices": 5,
    }, indent=1))
finally:
    for child in reversed(children):
        child.kill()
        child.wait()
    shutil.rmtree(folder, ignore_errors=True)
