"""The clock is taken as it is; a jump is noticed once."""

from gateway.clock import Clock

SECOND_NS = 1_000_000_000


class Hands:
    def __init__(self) -> None:
        self.wall_ns, self.monotonic_ns = 1_795_000_000 * SECOND_NS, 5 * SECOND_NS

    def run(self, seconds: float, wall_jumps_s: float = 0.0) -> None:
        self.monotonic_ns += int(seconds * SECOND_NS)
        self.wall_ns += int((seconds + wall_jumps_s) * SECOND_NS)


def clock_of(hands: Hands) -> Clock:
    return Clock(lambda: hands.wall_ns, lambda: hands.monotonic_ns)


def test_a_jump_back_is_noticed_once_and_time_is_what_the_system_says() -> None:
    hands = Hands()
    clock = clock_of(hands)
    hands.run(60)
    assert clock.now_us() == hands.wall_ns // 1_000
    assert clock.last_step is None
    hands.run(1, wall_jumps_s=-3_600)
    assert clock.now_us() == hands.wall_ns // 1_000
    step = clock.last_step
    assert step is not None
    assert round(step.by_s) == -3_600
    hands.run(1)
    clock.now_us()
    assert clock.last_step is step


def test_what_ntp_slews_is_no_jump() -> None:
    hands = Hands()
    clock = clock_of(hands)
    for _ in range(100):
        hands.run(10, wall_jumps_s=0.005)
        clock.now_us()
    assert clock.last_step is None
