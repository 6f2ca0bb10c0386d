import os
import subprocess
import sys
import time
from pathlib import Path

from consumer.kafka.order_book import StoredOrderBook
from consumer.kafka.order_file import own_file
from consumer.kafka.topics import DAY_SECONDS
from tests.unit.values import order

TAKES_A_FILE = """
import sys
from pathlib import Path
from consumer.kafka.order_file import own_file
with own_file(Path(sys.argv[1])) as path:
    print(path.name, flush=True)
    sys.stdin.read()
"""


def test_each_holder_has_a_file_of_its_own_and_the_next_start_finds_it(tmp_path: Path) -> None:
    with own_file(tmp_path / "orders") as first, own_file(tmp_path / "orders") as second:
        assert (first.name, second.name) == ("0.sqlite", "1.sqlite")
    with own_file(tmp_path / "orders") as again:
        assert again == first


def test_the_file_of_a_process_is_free_once_it_is_dead(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TAKES_A_FILE, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "0.sqlite\n"
        with own_file(tmp_path) as path:
            assert path.name == "1.sqlite"
        other.kill()
        other.wait()
        with own_file(tmp_path) as path:
            assert path.name == "0.sqlite"


def test_a_file_that_may_have_missed_what_compaction_took_is_read_anew(tmp_path: Path) -> None:
    with own_file(tmp_path) as path:
        book = StoredOrderBook(path)
        book.put_order(order(), 1)
        book.close()
    for days, found in ((29, 1), (31, 0)):
        written_at = time.time() - days * DAY_SECONDS
        os.utime(path, (written_at, written_at))
        with own_file(tmp_path) as again:
            book = StoredOrderBook(again)
            assert len(book) == found
            book.close()
