"""What a run and its data leave behind, by hand: manifest, training curve, `data.json`."""

import random
from typing import Any


def manifest(run: str) -> dict[str, Any]:
    return {
        "schema": 1,
        "run": run,
        "status": "finished",
        "stage": "sft",
        "method": "lora",
        "model": {"name": "tiny", "revision": None, "sha256": "d" * 64},
        "data": {"fingerprint": "f00d", "sha256": "e" * 64},
        "config_sha256": "9" * 64,
        "environment": {
            "python": "3.11.9",
            "platform": "Linux-6.1-x86_64",
            "packages": {"torch": "2.13.0", "transformers": "5.23.0"},
            "device": "cpu",
            "kit_commit": "0123456789abcdef0123456789abcdef01234567",
        },
        "seed": 42,
        "trainable_parameters": 98_304,
        "total_parameters": 1_812_480,
        "steps": 150,
        "started": "2026-01-02T03:04:05+00:00",
        "ended": "2026-01-02T03:04:47+00:00",
        "seconds": 41.7,
        "golden": {"step": 120, "metric": "violation_rate", "score": -0.0156, "eval_loss": 0.41},
        "loss": {"first": 2.9, "last": 0.36, "max_fluctuation": 0.07},
        "stopped_early": False,
    }


def curve() -> list[dict[str, Any]]:
    dice = random.Random(3)
    lines: list[dict[str, Any]] = []
    for step in range(5, 155, 5):
        loss = 0.34 + 2.6 * 0.962**step + dice.uniform(-0.03, 0.03)
        speed = {"learning_rate": 1e-3, "grad_norm": 0.8, "tokens_per_second": 5200}
        lines.append({"step": step, "epoch": step / 75, "kind": "train", "loss": loss, **speed})
        if step % 30 == 0:
            score = {30: -0.31, 60: -0.11, 90: -0.03, 120: -0.0156, 150: -0.02}[step]
            held_out = loss + 0.04 + 0.0002 * step
            lines.append(
                {"step": step, "epoch": step / 75, "kind": "eval", "eval_loss": held_out, "task_score": score}
            )
    return lines


def data() -> dict[str, Any]:
    return {
        "schema": 1,
        "fingerprint": "f00d",
        "kit_version": "0.1.0",
        "sources": [
            {
                "name": "conf/dialogues.yaml",
                "sha256": "1" * 64,
                "format": "grammar",
                "synthetic": True,
                "rows": 1200,
                "kept": 1188,
            }
        ],
        "rows": {
            "read": 1200,
            "kept": 1188,
            "rejected": 12,
            "left_out": 0,
            "train": 948,
            "valid": 120,
            "test": 120,
        },
        "benchmarks": [],
        "personal": {
            "action": "mask",
            "kinds": [
                {"kind": "email", "rows": 3, "values": 4},
                {"kind": "national_id", "rows": 0, "values": 0},
            ],
        },
        "languages": {"turns": {"en": 2370, "de": 6}, "not_judged": 12},
        "checks": [
            {
                "name": "duplicate",
                "severity": "reject",
                "count": 8,
                "what": "equal to an earlier row",
                "examples": [],
            },
            {
                "name": "length",
                "severity": "report",
                "count": 1180,
                "what": "outside the advised 200 to 500 tokens",
                "examples": [],
            },
        ],
        "tokens": {"median": 88, "p95": 140, "max": 201, "supervised_share": 0.41, "histogram": []},
        "slices": {"topic": {"savings": 310}},
        "settings": {},
    }
