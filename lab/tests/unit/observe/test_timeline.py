from typing import Any

from federation_lab.observe import timeline
from federation_lab.observe.timeline import Answer, Request

LOST = frozenset({"10.0.3.200"})


def test_out_is_the_first_answer_without_the_lost_address():
    answers = [
        Answer(-1, ("10.0.1.200", "10.0.3.200")),
        Answer(1, ("10.0.1.200", "10.0.3.200")),
        Answer(2, ("10.0.1.200",)),
        Answer(3, ("10.0.1.200",)),
    ]

    assert timeline.dns_out(answers, LOST) == 2


def test_an_address_that_comes_back_was_not_out():
    answers = [
        Answer(1, ("10.0.1.200",)),
        Answer(2, ("10.0.1.200", "10.0.3.200")),
        Answer(3, ("10.0.1.200",)),
    ]

    assert timeline.dns_out(answers, LOST) == 3


def test_silence_and_emptiness_are_not_out():
    assert timeline.dns_out([Answer(1, None), Answer(2, ())], LOST) is None


def test_a_server_that_still_gives_it_is_not_out():
    assert timeline.dns_out([Answer(1, ("10.0.3.200",))], LOST) is None


def test_empty_answers_are_counted_but_silence_is_not():
    assert timeline.empty_answers([Answer(1, ()), Answer(2, None), Answer(3, ("a",))]) == 1


def test_requests_are_counted_by_when_they_began():
    requests = [Request(-1, True), Request(1, False), Request(7, False), Request(8, True)]

    assert timeline.counted(requests, 5) == {"sent": 4, "failed": 2, "failed_after_dns": 1}


def test_without_a_change_everywhere_what_failed_after_it_is_unknown():
    assert timeline.counted([Request(1, False)], None)["failed_after_dns"] is None


def deployment(name: str, ready: int) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "demo", "name": name},
        "status": {"readyReplicas": ready} if ready else {},
    }


def test_ready_replicas_are_summed_over_regions():
    ready = timeline.ready_replicas(
        {"a": [deployment("web", 2), deployment("api", 0)], "b": [deployment("web", 3)]}
    )

    assert ready == {"demo/web": 5, "demo/api": 0}
    assert timeline.all_back(ready, {"demo/web": 5})
    assert not timeline.all_back(ready, {"demo/web": 5, "demo/api": 1})


def test_differences_name_the_thing_and_both_values():
    before = {"answer in a": ["x"], "replicas in a": {"web": 2}}
    after = {"answer in a": ["x"], "replicas in a": {"web": 3}}

    assert timeline.differences(before, after) == ["replicas in a: was {'web': 2}, is {'web': 3}"]
    assert timeline.differences(before, before) == []
