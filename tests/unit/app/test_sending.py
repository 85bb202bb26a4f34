"""A socket waits for who reads slowly, and lets go who does not read."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from app import sending
from app.sending import PatientSocket

MEGABYTE = bytes(1_000_000)


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[PatientSocket, socket.socket]]:
    monkeypatch.setattr(sending, "PATIENCE_S", 0.3)
    monkeypatch.setattr(sending, "LEAST_BYTES", 1_000)
    ours, theirs = socket.socketpair()
    patient = PatientSocket(fileno=ours.detach())
    with patient, theirs:
        yield patient, theirs


def test_who_reads_slowly_gets_everything(pair: tuple[PatientSocket, socket.socket]) -> None:
    patient, theirs = pair
    sender = threading.Thread(target=patient.sendall, args=(MEGABYTE,))
    sender.start()
    got, began_s = 0, time.monotonic()
    while got < len(MEGABYTE):
        got += len(theirs.recv(50_000))
        time.sleep(0.05)
    sender.join()
    assert time.monotonic() - began_s > 2 * sending.PATIENCE_S


def test_who_does_not_read_is_let_go_and_hears_it(pair: tuple[PatientSocket, socket.socket]) -> None:
    patient, theirs = pair
    began_s = time.monotonic()
    with pytest.raises(ConnectionResetError):
        patient.sendall(MEGABYTE)
    assert sending.PATIENCE_S <= time.monotonic() - began_s < 5
    with pytest.raises(OSError):
        patient.send(b"more")
    theirs.settimeout(2)
    while theirs.recv(100_000):
        pass


def test_when_too_many_wait_the_next_is_let_go_at_once_and_who_need_not_wait_is_served(
    pair: tuple[PatientSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    patient, theirs = pair
    nobody = threading.BoundedSemaphore(1)
    nobody.acquire()
    monkeypatch.setattr(sending, "_waiting", nobody)
    monkeypatch.setattr(sending, "PATIENCE_S", 60)
    patient.sendall(b"short")
    assert theirs.recv(10) == b"short"
    with pytest.raises(ConnectionResetError):
        patient.sendall(MEGABYTE)
