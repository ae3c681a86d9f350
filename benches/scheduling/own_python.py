"""Runs a script of this folder in a private virtual environment with the packages it needs."""
import os
import subprocess
import sys
import tempfile
import venv


def ensure(*packages):
    """Re-executes the calling script where every package is installed. ALIDADE_BENCH_VENV names the environment."""
    home = os.environ.get("ALIDADE_BENCH_VENV", os.path.join(tempfile.gettempdir(), f"alidade-bench-{os.getuid()}"))
    python = os.path.join(home, "bin", "python")
    if not os.path.exists(python):
        venv.create(home, with_pip=True)
    if os.path.realpath(sys.prefix) != os.path.realpath(home):
        subprocess.check_call([python, "-m", "pip", "install", "-q", *packages])
        os.execv(python, [python, *sys.argv])


def repository():
    return os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))


def build(example):
    """Builds an example of alidade-scheduling in release mode and returns its path. CARGO_TARGET_DIR is honoured."""
    root = repository()
    subprocess.check_call(
        ["cargo", "build", "-q", "--release", "-p", "alidade-scheduling", "--example", example], cwd=root)
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(root, "target"))
    return os.path.join(target, "release", "examples", example)
