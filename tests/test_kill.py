"""Killed at random moments and run again: nothing is lost, nothing doubled, the same winner is found."""

import json
import random
import shutil
import sqlite3
import time

import pytest
from preloaded import Python

from nascli.lut import Store

TINY = "proxyless-mini:resolution=8,width=0.25,depth=1"
PROFILE = ["profile", "--space", TINY, "--batch", "2", "--json"]
SEARCH = ["search", "--space", TINY, "--batch", "2", "--constraint", "latency=50ms", "--population", "6",
          "--generations", "3", "--supernet-epochs", "2", "--retrain-epochs", "1", "--json"]  # fmt: skip


def start(args, home, **options):
    return Python("nascli", *args, env={"NASCLI_HOME": str(home)}, **options)


def finish(args, home, **options):
    done = start(args, home, **options).finish(timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def all_samples(home):
    path = home / "store.sqlite"
    if not path.exists():
        return {}
    try:
        with Store(path) as store:
            return {
                (setup.label, key, sample.round): sample.seconds.tobytes()
                for setup, _, _ in store.setups()
                for key, rows in store.samples(setup).items()
                for sample in rows
            }
    except sqlite3.Error as error:
        raise AssertionError("the store did not survive") from error


@pytest.mark.slow
def test_a_killed_profile_keeps_every_sample(tmp_path):
    home = tmp_path / "home"
    seen = {}
    moments = random.Random(1)
    for _ in range(10):
        start(PROFILE, home).kill_after(moments.uniform(0.1, 1.0))
        now = all_samples(home)
        assert seen.items() <= now.items()
        seen = now
    finish(PROFILE, home)
    final = all_samples(home)
    assert seen.items() <= final.items()
    rounds = {}
    for _, key, number in final:
        rounds.setdefault(key, []).append(number)
    for numbers in rounds.values():
        assert sorted(numbers) == list(range(len(numbers)))


@pytest.mark.slow
def test_a_killed_search_finds_what_an_undisturbed_one_finds(tmp_path):
    home, quick = tmp_path / "home", {"quick_measuring": True}
    finish(PROFILE, home, **quick)
    shutil.copytree(home, tmp_path / "other")
    begun = time.monotonic()
    whole = finish([*SEARCH, "--out", str(tmp_path / "whole")], home, **quick)
    length = time.monotonic() - begun
    moments = random.Random(2)
    args = [*SEARCH, "--out", str(tmp_path / "killed")]
    journal = tmp_path / "killed" / "evaluations.jsonl"
    seen = []
    for _ in range(6):
        start(args, tmp_path / "other", **quick).kill_after(moments.uniform(0.3, 0.6 * length))
        if journal.exists():
            lines = journal.read_bytes().splitlines(keepends=True)
            complete = [line for line in lines if line.endswith(b"\n")]
            assert complete[: len(seen)] == seen
            seen = complete
    resumed = finish(args, tmp_path / "other", **quick)
    entries = [json.loads(line)["codes"] for line in journal.read_text().splitlines()]
    assert len(entries) == len({tuple(codes) for codes in entries})
    expected = [
        json.loads(x)["codes"] for x in (tmp_path / "whole" / "evaluations.jsonl").read_text().splitlines()
    ]
    assert entries == expected
    assert resumed["table_digest"] == whole["table_digest"]
    for key in ("codes", "supernet_top1", "retrained_top1", "predicted_latency_s"):
        assert resumed[key] == whole[key], key
