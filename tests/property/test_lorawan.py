"""LoRaWAN frames and counters under whatever the air may bring."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streamgauge.lorawan.counters import COUNTER_MAX, REORDER_MAX, WINDOW_BITS, Verdict, Window, candidates, judge, take
from streamgauge.lorawan.crypto import SessionKeys
from streamgauge.lorawan.frames import (
    DataFrame,
    FrameRefused,
    JoinAccept,
    decrypt,
    make_downlink,
    make_join_accept,
    make_uplink,
    mic_fits,
    open_join_accept,
    parse,
)

KEY = st.binary(min_size=16, max_size=16)
KEYS = st.builds(SessionKeys, KEY, KEY)
DEV_ADDR = st.binary(min_size=4, max_size=4)
COUNTER = st.integers(0, COUNTER_MAX)


@settings(max_examples=500)
@given(phy=st.binary(max_size=300))
def test_any_bytes_are_a_frame_or_refused(phy: bytes) -> None:
    try:
        frame = parse(phy)
    except FrameRefused:
        return
    assert frame.phy == phy


@given(
    keys=KEYS,
    dev_addr=DEV_ADDR,
    f_cnt=COUNTER,
    f_port=st.integers(1, 255),
    payload=st.binary(max_size=220),
    f_opts=st.binary(max_size=15),
    flags=st.fixed_dictionaries(
        {name: st.booleans() for name in ("confirmed", "adr", "adr_ack_req", "ack", "class_b")}
    ),
)
def test_an_uplink_is_read_as_it_was_made(keys, dev_addr, f_cnt, f_port, payload, f_opts, flags) -> None:
    frame = parse(make_uplink(keys, dev_addr, f_cnt, f_port, payload, f_opts=f_opts, **flags))
    assert isinstance(frame, DataFrame)
    assert (frame.dev_addr, frame.f_cnt_low, frame.f_port, frame.f_opts) == (dev_addr, f_cnt & 0xFFFF, f_port, f_opts)
    for name in ("confirmed", "adr", "adr_ack_req", "ack"):
        assert getattr(frame, name) == flags[name]
    assert frame.class_b_or_pending == flags["class_b"]
    assert mic_fits(frame, keys.nwk_s_key, f_cnt)
    assert decrypt(frame, keys, f_cnt) == payload
    assert not mic_fits(frame, keys.nwk_s_key, f_cnt ^ 0x1_0000)


@given(keys=KEYS, f_cnt=COUNTER, place=st.integers(0, 30), flipped=st.integers(1, 255), downlink=st.booleans())
def test_one_altered_byte_spoils_the_mic(keys, f_cnt, place, flipped, downlink) -> None:
    make = make_downlink if downlink else make_uplink
    phy = bytearray(make(keys, b"\1\2\3\4", f_cnt, 7, bytes(18)))
    phy[place] ^= flipped
    try:
        frame = parse(bytes(phy))
    except FrameRefused:
        return
    assert not isinstance(frame, DataFrame) or not mic_fits(frame, keys.nwk_s_key, f_cnt)


@given(
    app_key=KEY,
    accept=st.builds(
        JoinAccept,
        app_nonce=st.integers(0, 0xFFFFFF),
        net_id=st.integers(0, 0xFFFFFF),
        dev_addr=DEV_ADDR,
        dl_settings=st.integers(0, 0x7F),
        rx_delay_s=st.integers(0, 15),
        cf_list=st.just(b"") | st.binary(min_size=16, max_size=16),
    ),
)
def test_a_join_accept_is_read_as_it_was_made(app_key, accept) -> None:
    assert open_join_accept(app_key, make_join_accept(app_key, accept)) == accept


@given(newest=COUNTER, moved=st.integers(-REORDER_MAX, 4 * 65_536))
def test_a_counter_near_the_newest_is_among_the_candidates(newest: int, moved: int) -> None:
    counter = newest + moved
    if 0 <= counter <= COUNTER_MAX:
        found = list(candidates(Window(newest, 1), counter & 0xFFFF))
        assert counter in found
        assert len(found) == len(set(found)) <= 7
        assert all(0 <= candidate <= COUNTER_MAX and candidate & 0xFFFF == counter & 0xFFFF for candidate in found)
        if -REORDER_MAX <= moved < 65_536 - REORDER_MAX:
            assert found[0] == counter


@given(counter=st.integers(0, 16 * 65_536 - 1))
def test_a_counter_is_found_where_none_is_known(counter: int) -> None:
    assert counter in list(candidates(None, counter & 0xFFFF))


class Counters(RuleBasedStateMachine):
    """The window against the set of everything that was taken."""

    def __init__(self) -> None:
        super().__init__()
        self.window: Window | None = None
        self.taken: set[int] = set()

    def offer(self, counter: int) -> None:
        verdict = judge(self.window, counter)
        newest = max(self.taken, default=None)
        if newest is None or counter > newest:
            assert verdict is Verdict.NEW
        elif counter in self.taken:
            assert verdict is (Verdict.REPEATED if newest - counter < WINDOW_BITS else Verdict.OLD)
        else:
            assert verdict is (Verdict.LATE if newest - counter <= REORDER_MAX else Verdict.OLD)
        if verdict.is_taken:
            self.window = take(self.window, counter)
            self.taken.add(counter)

    @rule(counter=st.sampled_from([0, 1, 65_535, 65_536, COUNTER_MAX - 3, COUNTER_MAX]) | st.integers(0, 200) | COUNTER)
    def any_counter(self, counter: int) -> None:
        self.offer(counter)

    @rule(moved=st.integers(-70, 70))
    def near_the_newest(self, moved: int) -> None:
        self.offer(min(COUNTER_MAX, max(0, max(self.taken, default=100) + moved)))

    @rule(moved=st.integers(1, 3))
    def next_one(self, moved: int) -> None:
        self.offer(min(COUNTER_MAX, max(self.taken, default=0) + moved))

    @invariant()
    def the_window_fits_a_database(self) -> None:
        if self.window is not None:
            assert self.window.newest == max(self.taken)
            assert 0 <= self.window.bits < 1 << 63
            assert self.window.bits & 1


Counters.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestCounters = Counters.TestCase
