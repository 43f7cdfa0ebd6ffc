"""The checks of the project: ``nox -l`` lists them, ``nox -s tests -- -k dense`` hands words on to pytest.

Every session starts from an empty environment and installs the package as a user would.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_external_run = True
nox.options.sessions = ["lint", "typing", "tests"]

PROJECT = nox.project.load_toml("pyproject.toml")["project"]
NO_COMPILER = {"CXX": "/nonexistent/c++"}
WHEEL_LIMIT = 2_000_000  # bytes
for chosen_outside in ("DENSEGRAD_BACKEND", "PYTHONPATH"):
    os.environ.pop(chosen_outside, None)


@nox.session
def tests(session: nox.Session) -> None:
    """Everything: pytest on both backends, the C++ tests, a pass of each microbenchmark, Python's files read in C++."""
    session.install(".[test]", "cmake", "ninja")
    session.run("densegrad", "info")
    session.run("python", "-c", "import densegrad._core")  # or half the suite would not run
    run_pytest(session, "tests/python", *session.posargs)
    supported = "import densegrad._core as core; print(*core.supported_instruction_sets())"
    for isa in str(session.run("python", "-c", supported, silent=True)).split()[1:]:  # the first has just run
        env = {"DENSEGRAD_ISA": isa, "PYTEST_ADDOPTS": ""}
        run_pytest(
            session, "tests/python", "-q", "-k", "core", "-m", "not above_the_kernels", *session.posargs, env=env
        )
    build = build_cpp(session, "-DDENSEGRAD_WERROR=ON")
    session.run("ctest", "--test-dir", build, "--parallel", "2", "--output-on-failure", "--no-tests=error")
    program = str(Path(build, "tests", "cpp", "load_model"))
    run_pytest(session, "tests/cpp", "-q", env={"DENSEGRAD_LOAD_MODEL": program, "PYTEST_ADDOPTS": ""})


@nox.session
def python(session: nox.Session) -> None:
    """The Python suite alone, for one more version of Python: what no instruction set and no C++ test depends on."""
    session.install(".[test]")
    session.run("python", "-c", "import densegrad._core")
    run_pytest(session, "tests/python", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """``tests/soak``: training is killed a hundred times, where the suite does it a handful; takes minutes."""
    session.install(".[test]")
    run_pytest(session, "tests/soak")


@nox.session
def peers(session: nox.Session) -> None:
    """Against PyTorch and JAX, on every instruction set: ``tests/peers``."""
    session.install(".[test,peers]")
    run_pytest(session, "tests/peers", *session.posargs)


@nox.session
def sanitizers(session: nox.Session) -> None:
    """The C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer; takes some ten minutes."""
    session.install("cmake", "ninja")
    build = build_cpp(session, "-DDENSEGRAD_SANITIZE=address,undefined", "-DDENSEGRAD_BENCHMARKS=OFF")
    session.run("ctest", "--test-dir", build, "--parallel", "2", "--output-on-failure", "--no-tests=error")


@nox.session
def races(session: nox.Session) -> None:
    """The C++ tests that use threads under ThreadSanitizer; needs clang and its OpenMP (Debian: clang, libomp-dev).

    Archer, which comes with that OpenMP, tells the sanitizer of barriers and regions; it is asked whether it does.
    """
    session.install("cmake", "ninja")
    options = ["-DDENSEGRAD_SANITIZE=thread", "-DDENSEGRAD_BENCHMARKS=OFF", "-DCMAKE_CXX_COMPILER=clang++"]
    build = build_cpp(session, *options)
    env = {"TSAN_OPTIONS": "ignore_noninstrumented_modules=1", "ARCHER_OPTIONS": "verbose=1"}
    test = str(Path(build, "tests", "cpp", "test_threads"))
    if "Archer detected OpenMP application" not in printed(session, test, external=True, env=env):
        session.error("Archer did not tell ThreadSanitizer of OpenMP's barriers: nothing that was found would count")
    words = ["--parallel", "2", "--output-on-failure", "--no-tests=error", "-R", "network|plans|steps|thread"]
    session.run("ctest", "--test-dir", build, *words, env=env)


@nox.session
def fallback(session: nox.Session) -> None:
    """The Python suite where no C++ compiler was found: NumPy alone, and the reason is said."""
    session.install(".[test]", env=NO_COMPILER)
    info = printed(session, "densegrad", "info")
    for line in (r"backends: +numpy$", r"no core because: +no C\+\+ compiler was found"):
        if not re.search(line, info, re.MULTILINE):
            session.error(f"expected a line {line!r} from densegrad info, got\n{info}")
    known = "ignore:densegrad runs on its NumPy backend:RuntimeWarning"
    run_pytest(session, "tests/python", "-W", known, *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """The sdist and the wheel made from it: its size, and that it works with what it declares and no more."""
    session.install("build")
    folder = Path(session.create_tmp())
    session.run("python", "-m", "build", "--outdir", str(folder), silent=True)
    (path,) = folder.glob("densegrad-*.whl")
    size = path.stat().st_size
    session.log(f"{path.name}: {size / 1e6:.2f} MB")
    if size >= WHEEL_LIMIT:
        session.error(f"expected a wheel below {WHEEL_LIMIT / 1e6} MB, got {size / 1e6:.2f} MB")

    session.run("python", "-m", "venv", str(folder / "bare"))
    python, densegrad = (str(folder / "bare" / "bin" / name) for name in ("python", "densegrad"))
    session.run(python, "-m", "pip", "install", "-q", str(path), external=True)
    session.run(python, "-c", TRAINS_ALONE, external=True)
    said = printed(session, densegrad, "demo", external=True, success_codes=[1])
    if "densegrad[demo]" not in said:
        session.error(f"expected densegrad demo to name the extra densegrad[demo], got\n{said}")


TRAINS_ALONE = """
import importlib.util
import densegrad as dg
assert dg.backend() == "core", dg.backend()
for name in ("scipy", "sklearn", "tqdm", "matplotlib"):
    assert importlib.util.find_spec(name) is None, name
model = dg.Sequential([dg.Dense(8, activation="tanh"), dg.Dense(1)], input_size=2, seed=0)
x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]
history = model.fit(x, y, loss="mse", optimizer=dg.SGD(0.1), epochs=1000, batch_size=4)
assert history["loss"][-1] < 0.01, history
print(f"trained XOR on the core ({dg.isa()}), loss {history['loss'][-1]:.1e}")
"""


@nox.session
def docs(session: nox.Session) -> None:
    """What the documentation shows: the doctests and the README's Python (pytest runs examples/)."""
    session.install(".[lbfgs,onnx,sklearn]", "pytest", "pytest-xdist")
    run_pytest(session, "--doctest-modules", "--pyargs", "densegrad", *session.posargs)
    readme = str(Path(".ci", "readme.py").resolve())
    with session.chdir(session.create_tmp()):  # examples write files
        session.run("python", "-W", "error", readme)


@nox.session
def lint(session: nox.Session) -> None:
    """Style of Python and C++, and spelling."""
    session.install(*tools("ruff", "codespell", "clang-format"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")
    session.run("clang-format", "--dry-run", "-Werror", *cpp_files())


@nox.session
def typing(session: nox.Session) -> None:
    """Strict typing of the library."""
    session.install(*tools("mypy"), *PROJECT["dependencies"])
    session.run("mypy", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """The C++ microbenchmarks; ``nox -s bench -- --benchmark_filter=gemm_panel`` hands words on to each."""
    session.install("cmake", "ninja")
    build = build_cpp(session, "-DDENSEGRAD_TESTS=OFF")
    for program in sorted(Path(build, "benchmarks", "cpp").iterdir()):
        if program.is_file() and os.access(program, os.X_OK):
            session.run(str(program), *session.posargs, external=True)


def run_pytest(session: nox.Session, *words: str, env: dict[str, str] | None = None) -> None:
    """Pytest in two processes, leaving nothing behind in the checkout."""
    session.run("pytest", "-p", "no:cacheprovider", "-n", "2", *words, env=env)


def build_cpp(session: nox.Session, *options: str) -> str:
    """Configure and build the C++ side in this session's scratch folder, which is named."""
    build = str(Path(session.create_tmp()) / "cpp")
    session.run("cmake", "-S", ".", "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", *options)
    session.run("cmake", "--build", build)
    return build


def cpp_files() -> list[str]:
    """Every C++ file, tables of macros (``.def``) apart."""
    files = (file for room in ("cpp", "tests/cpp", "benchmarks/cpp", "examples/cpp") for file in Path(room).rglob("*"))
    return sorted(str(file) for file in files if file.suffix in {".cpp", ".hpp", ".inl"})


def tools(*names: str) -> list[str]:
    """The named tools in the versions that pyproject.toml asks developers to have."""
    developers = PROJECT["optional-dependencies"]["dev"]
    return [wanted for wanted in developers if re.match(r"[\w-]+", wanted)[0] in names]


def printed(session: nox.Session, *command: str, **options: object) -> str:
    """What a command prints, both streams together; shown as well."""
    text = str(session.run(*command, silent=True, **options))
    print(text)
    return text
