"""Runs each scenario with every tool in turn, several rounds, and prints medians and ratios.

Everything is interleaved: one round runs every tool once, so that a noisy machine is noisy to all. A figure is the
median over the rounds; ratios are against the first tool of the scenario. It asserts nothing and keeps nothing.
"""

import glob
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HAUL = os.path.join(ROOT, "target/release/haul")
DECISIONS = os.path.join(ROOT, "target/release/examples/decisions")
LANGUAGES = os.path.join(ROOT, "target/release/examples/languages")
MIB = 1 << 20
NGINX = """
worker_processes 1; pid {dir}/nginx.pid; error_log {dir}/error.log; daemon off; {user}
events {{ worker_connections 2048; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; types {{ }} default_type application/octet-stream;
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4;
  scgi_temp_path {dir}/t5;
  server {{ listen 127.0.0.1:{port}; listen 127.0.0.1:{tls} ssl; root {root};
    location /slow/ {{ alias {root}/; limit_rate 20m; }}
    ssl_certificate {dir}/cert.pem; ssl_certificate_key {dir}/key.pem; }}
}}
"""


class Origin:
    """nginx on loopback, its files in memory where there is room."""

    def __init__(self, work):
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else work
        self.root = tempfile.mkdtemp(prefix="haul-bench-", dir=memory)
        os.chmod(self.root, 0o755)
        self.dir = os.path.join(work, "nginx")
        os.mkdir(self.dir)
        self.port, self.tls = free_port(), free_port()
        self.cert = os.path.join(self.dir, "cert.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", os.path.join(self.dir, "key.pem"), "-out", self.cert, "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE"],
            check=True, stderr=subprocess.DEVNULL)
        user = "user root;" if os.getuid() == 0 else ""
        conf = os.path.join(self.dir, "nginx.conf")
        with open(conf, "w") as f:
            f.write(NGINX.format(dir=self.dir, port=self.port, tls=self.tls, root=self.root, user=user))
        self.process = subprocess.Popen(["nginx", "-c", conf, "-e", os.path.join(self.dir, "error.log")])
        for _ in range(100):
            try:
                subprocess.run(["curl", "-s", "-o", "/dev/null", self.url("")], check=True)
                break
            except subprocess.CalledProcessError:
                time.sleep(0.05)

    def url(self, path, tls=False):
        return f"https://127.0.0.1:{self.tls}/{path}" if tls else f"http://127.0.0.1:{self.port}/{path}"

    def file(self, name, size):
        path = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        block = os.urandom(min(size, MIB))
        with open(path, "wb") as f:
            for _ in range(max(1, size // max(1, len(block)))):
                f.write(block)

    def stop(self):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.root, ignore_errors=True)


def written(directory):
    """Bytes in a directory's files, those being written included."""
    return sum(entry.stat().st_size for entry in os.scandir(directory) if entry.is_file())


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def timed(command, cwd, stdin=None, env=None, shell=False):
    """Wall and CPU seconds and peak RSS in MB of a command; stops the whole run when it fails."""
    start = time.monotonic()
    process = subprocess.Popen(
        command, cwd=cwd, shell=shell, env=env, stdin=open(stdin) if stdin else subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    error = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command} ended with {process.returncode}: {error.decode(errors='replace')[-800:]}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


# What a run wrote is removed at the end of all, more than this at once: for minutes after many files were removed, ext4 searches past
# the inodes they had whenever it creates one beside them, and that search is all that is timed then.
KEPT = 512 * MIB


def compare(title, work, tools, rounds, per=None):
    """Runs every tool once per round, each into an empty directory, and prints a table."""
    figures = {name: [] for name, _ in tools}
    outs = tempfile.mkdtemp(prefix="outs-", dir=work)
    for round in range(rounds):
        for place, (name, run) in enumerate(tools):
            out = os.path.join(outs, f"{round}-{place}")
            os.makedirs(out)
            os.sync()
            figures[name].append(run(out))
            if written(out) > KEPT:
                shutil.rmtree(out)
    print(f"\n## {title} ({rounds} rounds, medians)\n")
    unit = "wall ms" if per is None else f"{per}/s"
    print(f"| tool | wall s | wall/first | CPU s | CPU/first | peak RSS MB | {unit} |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    first = None
    for name, _ in tools:
        wall, cpu, rss = (statistics.median(column) for column in zip(*figures[name]))
        first = first or (wall, cpu)
        last = f"{wall * 1000:.1f}" if per is None else f"{COUNT / wall:,.0f}"
        print(f"| {name} | {wall:.3f} | {wall / first[0]:.2f} | {cpu:.3f} | {cpu / first[1]:.2f} | {rss:.0f} | {last} |")
    sys.stdout.flush()


COUNT = 0


class Bench:
    def __init__(self, work, quick):
        self.work, self.quick = work, quick
        self.origin = Origin(work)
        self.env = {**os.environ, "HAUL_HOME": os.path.join(work, "home"), "XDG_CACHE_HOME": os.path.join(work, "cache")}
        self.rounds = 3 if quick else 5

    def haul(self, *args, stdin=None, fresh=True):
        def run(out):
            if fresh:
                shutil.rmtree(self.env["HAUL_HOME"], ignore_errors=True)
            return timed([HAUL, "-q", *args, "-d", out], out, stdin=stdin, env=self.env)
        return run

    def start(self):
        self.origin.file("one", 1)
        timed([HAUL, "-q", "get", self.origin.url("one"), "-d", self.work, "--on-conflict", "replace"], self.work, env=self.env)
        for tls in (False, True):
            url = self.origin.url("one", tls)
            curl = ["curl", "-s", "-o", "one", url] + (["--cacert", self.origin.cert] if tls else [])
            aria = ["aria2c", "-q", "--check-certificate=false", url]
            wget = ["wget2", "-q", "--no-check-certificate", url]
            mine = ["get", url] + (["--cacert", self.origin.cert] if tls else [])
            compare("Start-up: a file of 1 byte over " + ("https" if tls else "http"), self.work, [
                ("curl", lambda out, c=curl: timed(c, out)),
                ("wget2", lambda out, c=wget: timed(c, out)),
                ("aria2c", lambda out, c=aria: timed(c, out)),
                ("haul", self.haul(*mine, fresh=False)),
                ("haul relaxed", self.haul(*mine, "--durability", "relaxed", fresh=False)),
            ], 11 if self.quick else 31)

    def large(self, tls=False):
        self.origin.file("large", (256 if self.quick else 1024) * MIB)
        url = self.origin.url("large", tls)
        ca = ["--cacert", self.origin.cert] if tls else []
        curl = ["curl", "-s", *ca, "-o", "large", url]
        compare("One file of 1 GiB over " + ("https" if tls else "http"), self.work, [
            ("curl", lambda out: timed(curl, out)),
            ("wget2", lambda out: timed(["wget2", "-q", "--no-check-certificate", url], out)),
            ("aria2c", lambda out: timed(["aria2c", "-q", "--check-certificate=false", url], out)),
            ("haul relaxed", self.haul("get", *ca, url, "--durability", "relaxed")),
            ("curl; sync", lambda out: timed(" ".join(curl) + "; sync", out, shell=True)),
            ("haul", self.haul("get", *ca, url)),
        ], self.rounds)

    def small(self, size, name):
        global COUNT
        COUNT = 2_000 if self.quick else 10_000 if size == 4096 else 5_000
        for i in range(COUNT):
            self.origin.file(f"{name}/f{i:05}", size)
        urls = os.path.join(self.work, "urls")
        config = os.path.join(self.work, "curl.list")
        with open(urls, "w") as f, open(config, "w") as c:
            for i in range(COUNT):
                url = self.origin.url(f"{name}/f{i:05}")
                f.write(url + "\n")
                c.write(f"url = {url}\noutput = f{i:05}\n")
        get = ["get", "-", "-j", "50"]
        compare(f"{COUNT:,} files of {size // 1024} KiB, at most 50 at once", self.work, [
            ("curl -Z", lambda out: timed(["curl", "-s", "-Z", "--parallel-max", "50", "-K", config], out)),
            ("wget2", lambda out: timed(["wget2", "-q", "--max-threads", "16", "-i", urls], out)),
            ("aria2c", lambda out: timed(["aria2c", "-q", "-j", "50", "-i", urls], out)),
            ("haul relaxed", self.haul(*get, "--durability", "relaxed", stdin=urls)),
            ("haul", self.haul(*get, stdin=urls)),
        ], self.rounds, per="files")
        return urls

    def callbacks(self):
        urls = self.small_urls()
        found = glob.glob(os.path.join(ROOT, "target/callbacks-example/wasm32-wasip2/release/*.wasm"))
        get = ["get", "-", "-j", "50"]
        runs = [
            ("haul", self.haul(*get, stdin=urls)),
            ("haul --callbacks", self.haul(*get, "--callbacks", found[0], stdin=urls)),
        ]
        python = os.path.join(ROOT, "target/languages/python.wasm")  # where tests/languages has built it
        if os.path.exists(python):
            runs.append(("haul --callbacks, Python", self.haul(*get, "--callbacks", python, stdin=urls)))
        only_start = self.python_on_task_start()
        if only_start:
            runs.append(("haul --callbacks, Python, `on-task-start` only", self.haul(*get, "--callbacks", only_start, stdin=urls)))
        compare(f"{COUNT:,} files of 4 KiB with the Rust example's callbacks", self.work, runs, self.rounds, per="files")

    def python_on_task_start(self):
        """A component in Python that answers one hook; none where tests/languages has not installed its toolchain."""
        found = sorted(glob.glob(os.path.join(ROOT, "target/tools/componentize-py-*/bin/componentize-py")))
        if not found:
            return None
        source, out = os.path.join(ROOT, "bench/on-task-start"), os.path.join(self.work, "on-task-start.wasm")
        subprocess.run(
            [sys.executable, found[-1], "--quiet", "--wit-path", os.path.join(ROOT, "wit"), "--wit-path",
             os.path.join(source, "world.wit"), "--world", "bench:on-task-start/callbacks", "componentize",
             "--python-path", source, "--output", out, "callbacks"],
            check=True, env={**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(found[-1]))})
        return out

    def small_urls(self):
        global COUNT
        COUNT = 2_000 if self.quick else 10_000
        urls = os.path.join(self.work, "urls")
        with open(urls, "w") as f:
            for i in range(COUNT):
                self.origin.file(f"cb/f{i:05}", 4096)
                f.write(self.origin.url(f"cb/f{i:05}") + "\n")
        return urls

    def parts(self):
        size = (100 if self.quick else 400) * MIB
        self.origin.file("parts", size)
        url = self.origin.url("slow/parts")
        tools = [("haul --parts 1", self.haul("get", url, "--parts", "1"))]
        for count in (4, 8, 16):
            aria = ["aria2c", "-q", "-x", str(count), "-s", str(count), "-k", "1M", url]
            tools.append((f"aria2c -x {count}", lambda out, c=aria: timed(c, out)))
            tools.append((f"haul --parts {count}", self.haul("get", url, "--parts", str(count))))
        compare(f"{size // MIB} MiB from a server that gives 20 MiB/s a connection", self.work, tools, 1 if self.quick else 3)

    def upload(self):
        size = (256 if self.quick else 1024) * MIB
        path = os.path.join(self.work, "source")
        with open(path, "wb") as f:
            block = os.urandom(MIB)
            for _ in range(size // MIB):
                f.write(block)
        sink = subprocess.Popen([sys.executable, os.path.join(ROOT, "bench/sink.py")], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)
        url = f"http://127.0.0.1:{sink.stdout.readline().strip()}/sink"
        put = lambda *args: lambda out: (shutil.rmtree(self.env["HAUL_HOME"], ignore_errors=True),
                                         timed([HAUL, "-q", "put", *args, path, url], out, env=self.env))[1]
        try:
            compare(f"Upload of {size // MIB} MiB", self.work, [
                ("curl -T", lambda out: timed(["curl", "-s", "-o", "/dev/null", "-T", path, url], out)),
                ("haul put --binary", put("--binary")),
            ], self.rounds)
            compare(f"Upload of {size // MIB} MiB as a form", self.work, [
                ("curl -F", lambda out: timed(["curl", "-s", "-o", "/dev/null", "-F", f"file=@{path}", url], out)),
                ("haul put", put()),
            ], self.rounds)
            self.small_uploads(url)
        finally:
            sink.stdin.close()
            sink.wait()

    def small_uploads(self, url):
        global COUNT
        COUNT = 1_000 if self.quick else 5_000
        tasks = os.path.join(self.work, "uploads.jsonl")
        name = os.path.join(self.work, "small")
        os.makedirs(name, exist_ok=True)
        with open(tasks, "w") as f:
            for i in range(COUNT):
                with open(os.path.join(name, f"u{i}"), "wb") as small:
                    small.write(os.urandom(4096))
                f.write(json.dumps({"taskType": "UploadTask", "url": url, "filename": f"u{i}", "post": "binary"}) + "\n")
        config = os.path.join(self.work, "uploads.toml")
        with open(config, "w") as f:
            f.write(f'[directories]\ndownloads = "{name}"\n')
        env = {**self.env, "HAUL_CONFIG": config}

        def run(out):
            shutil.rmtree(self.env["HAUL_HOME"], ignore_errors=True)
            timed([HAUL, "-q", "add", tasks], out, env=env)
            return timed([HAUL, "-q", "run", "--until-idle", "-j", "50"], out, env=env)
        compare(f"{COUNT:,} uploads of 4 KiB", self.work, [("haul run", run)], self.rounds, per="files")

    def groups(self):
        global COUNT
        COUNT = 2_000 if self.quick else 10_000
        config = os.path.join(self.work, "groups.toml")

        def run(name, limits):
            tasks = os.path.join(self.work, f"{name}.jsonl")
            with open(tasks, "w") as f:
                for i in range(COUNT):
                    group = f"g{i % 100}" if limits else "default"
                    f.write(json.dumps({"url": self.origin.url(f"g/f{i:05}"), "filename": f"f{i:05}", "group": group}) + "\n")

            def run(out):
                shutil.rmtree(self.env["HAUL_HOME"], ignore_errors=True)
                with open(config, "w") as f:
                    f.write(f'[directories]\ndownloads = "{out}"\n[limits]\ntotal = 50\n{limits}\n')
                env = {**self.env, "HAUL_CONFIG": config}
                timed([HAUL, "-q", "add", tasks], out, env=env)
                return timed([HAUL, "-q", "run", "--until-idle"], out, env=env)
            return run
        for i in range(COUNT):
            self.origin.file(f"g/f{i:05}", 4096)
        compare(f"{COUNT:,} queued files of 4 KiB, in 100 groups with limits", self.work, [
            ("one group", run("one", "")),
            ("100 groups, 2 at once of each", run("hundred", "per-group = 2")),
        ], self.rounds, per="files")

    def medium(self):
        global COUNT
        COUNT = 64 if self.quick else 256
        for i in range(COUNT):
            self.origin.file(f"m/f{i}", 10 * MIB)
        urls, config = os.path.join(self.work, "urls"), os.path.join(self.work, "curl.list")
        with open(urls, "w") as f, open(config, "w") as c:
            for i in range(COUNT):
                url = self.origin.url(f"m/f{i}")
                f.write(url + "\n")
                c.write(f"url = {url}\noutput = f{i}\n")
        compare(f"{COUNT} files of 10 MiB, all at once", self.work, [
            ("curl -Z", lambda out: timed(["curl", "-s", "-Z", "--parallel-max", "256", "-K", config], out)),
            ("haul relaxed", self.haul("get", "-", "-j", "256", "--durability", "relaxed", stdin=urls)),
            ("haul", self.haul("get", "-", "-j", "256", stdin=urls)),
        ], 3, per="files")
        shutil.rmtree(os.path.join(self.origin.root, "m"))

    def rate(self):
        self.origin.file("rate", 200 * MIB)
        rate = 10 * MIB
        url = self.origin.url("rate")
        print("\n## Rate limit of 10 MiB/s over 10 s\n\n| what | MiB/s |\n|---|--:|")
        out = os.path.join(self.work, "rated")
        os.makedirs(out, exist_ok=True)
        urls = os.path.join(self.work, "urls")
        for name, count in (("one task", 1), ("four tasks", 4)):
            with open(urls, "w") as f:
                f.writelines(f"{url}?{i}\n" for i in range(count))
            shutil.rmtree(self.env["HAUL_HOME"], ignore_errors=True)
            process = subprocess.Popen([HAUL, "-q", "get", "-", "-d", out, "--limit-rate", str(rate)], env=self.env,
                                       stdin=open(urls))
            time.sleep(1)
            before = written(out)
            time.sleep(10)
            speed = (written(out) - before) / 10 / MIB
            process.send_signal(signal.SIGINT)
            process.wait()
            shutil.rmtree(out)
            os.makedirs(out)
            print(f"| {name} | {speed:.2f} |", flush=True)

    def decisions(self):
        print("\n## Cost of a decision (µs, all in: conversion, call, checks)\n", flush=True)
        found = glob.glob(os.path.join(ROOT, "target/callbacks-example/wasm32-wasip2/release/*.wasm"))
        subprocess.run([DECISIONS, *found[:1]], check=True)

    def languages(self):
        found = [os.path.join(ROOT, f"target/languages/{name}.wasm")
                 for name in ("rust", "c", "go", "javascript", "typescript", "python")]
        print("\n## Components in each language\n", flush=True)
        subprocess.run([LANGUAGES, *found], check=True)
        urls = self.small_urls()
        get = ["get", "-", "-j", "50"]
        with_each = [(f"haul, {os.path.basename(path)}", self.haul(*get, "--callbacks", path, stdin=urls)) for path in found]
        compare(f"{COUNT:,} files of 4 KiB with each example's callbacks", self.work,
                [("haul", self.haul(*get, stdin=urls)), *with_each], self.rounds, per="files")

    def million(self):
        count = 100_000 if self.quick else 1_000_000
        tasks = os.path.join(self.work, "tasks.jsonl")
        self.origin.file("one", 1)
        with open(tasks, "w") as f:
            for i in range(count):
                f.write(json.dumps({"url": self.origin.url(f"one?{i}"), "filename": f"f{i}", "retries": 3}) + "\n")
        shutil.rmtree(self.env["HAUL_HOME"], ignore_errors=True)
        wall, cpu, rss = timed([HAUL, "-q", "add", tasks], self.work, env=self.env)
        print(f"\n## {count:,} tasks\n\n| what | wall s | CPU s | peak RSS MB |\n|---|--:|--:|--:|")
        print(f"| added from JSON lines | {wall:.2f} | {cpu:.2f} | {rss:.0f} |")
        wall, cpu, rss = timed([HAUL, "ls", "--ids"], self.work, env=self.env)
        print(f"| listed | {wall:.2f} | {cpu:.2f} | {rss:.0f} |")
        size = os.path.getsize(os.path.join(self.env["HAUL_HOME"], "haul.db")) / MIB
        out = os.path.join(self.work, "out")
        config = os.path.join(self.work, "config.toml")
        with open(config, "w") as f:
            f.write(f'[directories]\ndownloads = "{out}"\n')
        env = {**self.env, "HAUL_CONFIG": config}
        start = time.monotonic()
        process = subprocess.Popen([HAUL, "--json", "run", "-j", "1"], env=env, stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            if '"running"' in line:
                break
        first = time.monotonic() - start
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        process.wait()
        print(f"| restart to the first one running | {first:.2f} | | {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024:.0f} (largest child) |")
        print(f"| size of the database | {size:.0f} MB | | |", flush=True)


def main():
    quick = "--quick" in sys.argv
    wanted = [arg for arg in sys.argv[1:] if not arg.startswith("-")]
    # On a disk, not in memory: durability is part of what is measured. --dir=DIR: on that one.
    given = [arg.removeprefix("--dir=") for arg in sys.argv[1:] if arg.startswith("--dir=")]
    base = given[0] if given else os.path.join(ROOT, "target")
    work = tempfile.mkdtemp(prefix="bench-", dir=base)
    # Each table's files away from those of an earlier run that were removed just now (see KEPT); where this is no ext4, nothing happens.
    subprocess.run(["chattr", "+T", work], stderr=subprocess.DEVNULL, check=False)
    bench = Bench(work, quick)
    scenarios = {
        "start": bench.start,
        "large": bench.large,
        "large-https": lambda: bench.large(tls=True),
        "small-4k": lambda: bench.small(4096, "s4"),
        "small-64k": lambda: bench.small(65536, "s64"),
        "callbacks": bench.callbacks,
        "medium": bench.medium,
        "groups": bench.groups,
        "parts": bench.parts,
        "upload": bench.upload,
        "rate": bench.rate,
        "decisions": bench.decisions,
        "languages": bench.languages,
        "million": bench.million,
    }
    unknown = [name for name in wanted if name not in scenarios]
    if unknown or {"-h", "--help"} & set(sys.argv):
        shutil.rmtree(work, ignore_errors=True)
        bench.origin.stop()
        sys.exit(f"usage: bench/run [--quick] [--dir=DIR] [SCENARIO...]; scenarios: {', '.join(scenarios)}")
    try:
        for name, scenario in scenarios.items():
            # Its toolchains take minutes: only where it is asked for.
            if name in wanted or not wanted and name != "languages":
                scenario()
    finally:
        bench.origin.stop()
        shutil.rmtree(work, ignore_errors=True)


main()
