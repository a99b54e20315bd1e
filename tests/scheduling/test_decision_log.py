"""The decision log: one JSON object per line, rewound on resume."""

import json
from pathlib import Path

from paragon_plugin.scheduling.decision_log import DecisionLog
from paragon_plugin.scheduling.decisions import Decision


def decision(iteration: int) -> Decision:
    return Decision(iteration, "calibrated", "because", ("a",), {"share": 0.1}, {"share": 0.2})


def iterations(path: Path) -> list[int]:
    return [json.loads(line)["iteration"] for line in path.read_text().splitlines()]


def test_lines_are_appended_as_json(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "run" / "log.jsonl")
    log.append([])
    assert not log.path.exists()
    log.append([decision(1), decision(2)])
    log.append([decision(3)])
    assert json.loads(log.path.read_text().splitlines()[0]) == {
        "iteration": 1,
        "kind": "calibrated",
        "reason": "because",
        "losses": ["a"],
        "before": {"share": 0.1},
        "after": {"share": 0.2},
    }
    assert iterations(log.path) == [1, 2, 3]


def test_rewinding_drops_the_future_and_a_line_cut_off_by_a_kill(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "log.jsonl")
    log.append([decision(1), decision(20), decision(30)])
    with log.path.open("a") as file:
        file.write('{"iteration": 2, "ki')
    log.rewind(20)
    assert iterations(log.path) == [1, 20]


def test_a_line_cut_off_by_a_kill_does_not_swallow_the_next(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "log.jsonl")
    log.append([decision(1)])
    with log.path.open("a") as file:
        file.write('{"iteration": 2, "ki')
    log.append([decision(3), decision(4)])
    assert [line for line in log.path.read_text().splitlines() if line.endswith("}")] == [
        json.dumps(decision(i).as_dict()) for i in (1, 3, 4)
    ]
