from collections.abc import Mapping
from dataclasses import dataclass, field

from consumer.kafka.watchdog import Key, Look, Stall, StallDetector

A, B = ("call-events", 3), ("call-events", 4)
ENDS = {A: 500, B: 500}


@dataclass
class Role:
    """A reading as the watchdog sees it, every second."""

    detector: StallDetector = field(default_factory=lambda: StallDetector(30.0, 60.0))
    now: float = 1_000.0
    positions: dict[Key, int] = field(default_factory=lambda: {A: 120, B: 500})
    ends: Mapping[Key, int] | None = field(default_factory=lambda: dict(ENDS))
    waited: float = 0.0
    beat: float = 0.0
    epoch: int = 0
    joined: bool = True

    def go_on(
        self, seconds: int, *, waiting: float = 1.0, moving: tuple[Key, ...] = (), working: bool = False
    ) -> Stall | None:
        """Let seconds pass, of each of which so much is spent waiting for records."""
        stall = None
        for _ in range(seconds):
            self.now += 1.0
            self.waited += waiting
            self.beat += 1.0 if working or moving else 0.0
            for key in moving:
                self.positions[key] += 1
            stall = self.look()
        return stall

    def look(self) -> Stall | None:
        look = Look(dict(self.positions), self.ends, self.waited, self.beat, self.epoch, self.joined)
        return self.detector.observe(look, self.now)


def test_a_partition_with_records_left_that_does_not_move_is_named_with_position_and_end() -> None:
    role = Role()
    role.look()
    early = role.go_on(29)
    assert early
    assert not early.is_over
    stall = role.go_on(1)
    assert stall
    assert stall.is_over
    assert str(stall) == "call-events/3 stands at 120, its end is 500, for 30 s although Kafka answers"


def test_other_partitions_that_move_do_not_hide_it() -> None:
    role = Role()
    role.positions[B] = 100
    role.look()
    stall = role.go_on(40, moving=(B,))
    assert stall
    assert stall.is_over
    assert "call-events/3" in stall.what


def test_what_is_read_to_its_end_may_rest() -> None:
    role = Role(positions={A: 500, B: 500})
    role.look()
    assert role.go_on(1_000) is None


def test_a_slow_reading_is_no_standing_one() -> None:
    role = Role()
    role.look()
    for _ in range(10):
        role.go_on(20)
        role.positions[A] += 1
    stall = role.go_on(1)
    assert stall is None or stall.seconds < 2


def test_a_partition_that_waits_while_others_are_folded_is_not_suspected() -> None:
    role = Role()
    role.positions[B] = 100
    role.look()
    assert role.go_on(600, waiting=0.0, moving=(B,)) is None


def test_a_long_batch_of_slow_rules_is_not_suspected() -> None:
    role = Role()
    role.look()
    assert role.go_on(600, waiting=0.0, working=True) is None


def test_work_that_neither_reads_nor_folds_is_a_stall() -> None:
    role = Role(positions={A: 500, B: 500})
    role.look()
    stall = role.go_on(30, waiting=0.0)
    assert stall
    assert stall.is_over
    assert stall.what == "neither folding nor reading has got any further"


def test_while_kafka_is_down_nothing_is_counted_and_afterwards_it_begins_anew() -> None:
    role = Role()
    role.look()
    role.go_on(25)
    role.ends = None
    assert role.go_on(3_600, waiting=0.0) is None
    role.ends = ENDS
    stall = role.go_on(25)
    assert stall
    assert not stall.is_over
    over = role.go_on(10)
    assert over
    assert over.is_over


def test_a_rebalance_begins_anew() -> None:
    role = Role()
    role.look()
    for epoch in range(10):
        role.epoch = epoch
        stall = role.go_on(25)
        assert stall is None or not stall.is_over


def test_a_process_that_was_stopped_is_given_time_to_go_on() -> None:
    role = Role()
    role.look()
    role.go_on(3)
    role.now += 3_600
    role.waited += 3_600
    stall = role.look()
    assert stall
    assert not stall.is_over


def test_a_log_that_ends_before_what_was_read_is_a_stall_too() -> None:
    role = Role(positions={A: 700, B: 500})
    role.look()
    stall = role.go_on(30)
    assert stall
    assert stall.is_over
    assert "read up to 700, beyond its end at 500" in stall.what


def test_a_group_that_gives_nothing_is_a_stall_after_a_longer_while() -> None:
    role = Role(positions={}, joined=False)
    role.look()
    early = role.go_on(59)
    assert early
    assert not early.is_over
    stall = role.go_on(1)
    assert stall
    assert stall.is_over
    role.joined = True
    assert role.go_on(1) is None


def test_a_group_cannot_be_joined_while_kafka_is_down() -> None:
    role = Role(positions={}, joined=False)
    role.look()
    role.go_on(50)
    role.ends = None
    role.go_on(3_600)
    role.ends = ENDS
    stall = role.go_on(50)
    assert stall
    assert not stall.is_over
