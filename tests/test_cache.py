"""One question in flight, bounded staleness, last good answers: the claims of queries/cache.py, on a clock in hand."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from queries.cache import AnswerCache
from queries.errors import SourceError

DOWN = SourceError("The ledger cannot be reached.", kind="down", source="ledger")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Question:
    """Counts how often it is asked; answers with that count, or fails, or waits until let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self) -> int:
        self.asked += 1
        assert self.gate.wait(10)
        if self.fails:
            raise DOWN
        return self.asked


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def cache(clock):
    made = AnswerCache({"ledger": 2, "metrics": 2}, clock=clock)
    yield made
    made.close()


def get(cache, question, key="k", *, source="ledger", ttl=60, grace=600, deadline=5.0, while_waiting=None):
    return cache.get(key, question, source=source, ttl=ttl, grace=grace, deadline=deadline, while_waiting=while_waiting)


def settle(cache):
    """Wait until no question is in flight."""
    until = time.monotonic() + 5
    while cache._flights and time.monotonic() < until:
        time.sleep(0.005)
    assert not cache._flights


def test_a_fresh_answer_is_not_asked_for_again(cache, clock):
    question = Question()
    assert not get(cache, question).cached
    clock.now += 60
    again = get(cache, question)
    assert (again.value, again.cached, again.stale, question.asked) == (1, True, False, 1)


def test_fifty_viewers_of_a_cold_key_ask_once(cache):
    question = Question()
    question.gate.clear()
    with ThreadPoolExecutor(50) as viewers:
        answers = [viewers.submit(get, cache, question) for _ in range(50)]
        time.sleep(0.1)
        question.gate.set()
        assert {answer.result().value for answer in answers} == {1}
    assert question.asked == 1


def test_within_the_grace_the_old_answer_comes_at_once_and_is_marked_while_one_refresh_runs(cache, clock):
    question = Question()
    get(cache, question)
    clock.now += 61
    question.gate.clear()
    for _ in range(5):
        old = get(cache, question)
        assert (old.value, old.stale) == (1, True)
    question.gate.set()
    settle(cache)
    new = get(cache, question)
    assert (new.value, new.stale, question.asked) == (2, False, 2)


def test_beyond_ttl_and_grace_the_viewer_waits_for_a_new_answer(cache, clock):
    question = Question()
    get(cache, question)
    clock.now += 661
    new = get(cache, question)
    assert (new.value, new.stale) == (2, False)


def test_beyond_the_bound_a_failure_gives_the_last_good_answer_labelled_with_the_reason(cache, clock):
    question = Question()
    get(cache, question)
    clock.now += 661
    question.fails = True
    old = get(cache, question)
    assert (old.value, old.stale, old.error) == (1, True, DOWN.sentence)


def test_a_failed_refresh_within_the_grace_is_told_too(cache, clock):
    question = Question()
    get(cache, question)
    clock.now += 61
    question.fails = True
    get(cache, question)
    settle(cache)
    assert get(cache, question).error == DOWN.sentence


def test_it_recovers_by_itself_after_a_failure(cache, clock):
    question = Question()
    question.fails = True
    with pytest.raises(SourceError):
        get(cache, question)
    question.fails = False
    clock.now += 3
    assert get(cache, question).error is None


def test_a_question_that_just_failed_is_not_asked_again_at_once(cache, clock):
    question = Question()
    question.fails = True
    for _ in range(10):
        with pytest.raises(SourceError):
            get(cache, question)
    assert question.asked == 1


def test_a_viewer_waits_no_longer_than_his_deadline(cache):
    question = Question()
    question.gate.clear()
    with pytest.raises(SourceError) as told:
        get(cache, question, deadline=0.1)
    assert told.value.kind == "timeout"
    question.gate.set()


def test_a_viewer_may_leave_and_the_question_goes_on_for_the_others(cache):
    class Left(BaseException):
        pass

    def leave():
        raise Left

    question = Question()
    question.gate.clear()
    with pytest.raises(Left):
        get(cache, question, while_waiting=leave)
    question.gate.set()
    settle(cache)
    assert get(cache, question).cached


def test_a_source_that_hangs_does_not_hold_the_other(cache):
    hanging, quick = Question(), Question()
    hanging.gate.clear()
    for key in range(5):
        with pytest.raises(SourceError):
            get(cache, hanging, key, source="metrics", deadline=0.02)
    assert get(cache, quick, source="ledger", deadline=1).value == 1
    assert hanging.asked == 2, "no more than the source's cap is in flight"
    hanging.gate.set()


def test_what_is_not_foreseen_becomes_a_sentence_without_details(cache):
    def ask():
        raise RuntimeError("password=secret")

    with pytest.raises(SourceError) as told:
        get(cache, ask)
    assert "secret" not in told.value.sentence


def test_the_least_recently_used_answer_leaves_when_memory_is_full(clock):
    cache = AnswerCache({"ledger": 1}, max_bytes=2048, size_of=lambda value: 1024, clock=clock)
    questions = [Question() for _ in range(3)]
    for key, question in enumerate(questions):
        get(cache, question, key)
    get(cache, questions[2], 2)
    get(cache, questions[0], 0)
    assert [question.asked for question in questions] == [2, 1, 1]
    cache.close()


def test_the_source_state_tells_success_failure_and_what_is_in_flight(cache, clock):
    question = Question()
    state = cache.states["ledger"]
    assert state.up is None
    get(cache, question)
    assert state.up is True
    question.fails = True
    with pytest.raises(SourceError):
        get(cache, question, "other")
    assert state.up is False
    assert state.last_error == DOWN.sentence
    assert state.in_flight == 0
