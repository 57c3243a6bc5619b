"""Which library finds near duplicates: datasketch, rensa and semhash side by side.

    pip install datasketch rensa semhash
    python bench/near_duplicates.py [--data ../shared/data] [--rows 10000]

Part one: recall, seconds and memory on the questions of three real files, against the exact Jaccard index
of all pairs; part two: the same without the exact answer on `--rows` made-up ones. Libraries that are not
installed are left out; `kit` is what the checks use: rensa's hashes, met in `kit/data/neighbours.py`.
Seconds are those of the processor, so that others on the machine do not count; every measurement runs in a
process of its own.
"""

import argparse
import importlib.util
import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kit.data.near import BANDS, ROWS, pieces

FILES = ("ecom_hetpqa_en", "medical_medquad_en", "finance_multidogo_en")
NEAR = 0.8
PERMUTATIONS = BANDS * ROWS
Pairs = set[tuple[int, int]]


def datasketch_pairs(texts: Sequence[str]) -> Pairs:
    """MinHashLSH with the kit's bands, its usual hash (sha1)."""
    from datasketch import MinHash, MinHashLSH

    lsh = MinHashLSH(num_perm=PERMUTATIONS, params=(BANDS, ROWS))
    found = set()
    for number, text in enumerate(texts):
        minhash = MinHash(num_perm=PERMUTATIONS, seed=42)
        minhash.update_batch([piece.encode() for piece in pieces(text)])
        found.update((other, number) for other in lsh.query(minhash))
        lsh.insert(number, minhash)
    return found


def rensa_pairs(texts: Sequence[str]) -> Pairs:
    """RMinHash and RMinHashLSH, as the kit uses them."""
    from rensa import RMinHash, RMinHashLSH

    lsh = RMinHashLSH(threshold=NEAR, num_perm=PERMUTATIONS, num_bands=BANDS)
    found = set()
    for number, text in enumerate(texts):
        minhash = RMinHash(num_perm=PERMUTATIONS, seed=42)
        minhash.update(sorted(pieces(text)))
        found.update((other, number) for other in lsh.query(minhash))
        lsh.insert(number, minhash)
    return found


def semhash_pairs(texts: Sequence[str]) -> Pairs:
    """Neighbours in an index of vectors. Its own model must be fetched, so pieces are hashed to vectors."""
    from semhash import SemHash

    records = [{"text": text, "number": number} for number, text in enumerate(dict.fromkeys(texts))]
    index = SemHash.from_records(records, columns=["text"], model=_HashedPieces()).index
    cosine = 2 * NEAR / (1 + NEAR)  # of two sets of one size with that Jaccard index
    place: dict[str, int] = {}
    for number, text in enumerate(texts):
        place.setdefault(text, number)
    numbers = [place[group[0]["text"]] for group in index.items]
    found = set()
    for number, (others, _) in enumerate(index.query_threshold(index.vectors, threshold=cosine)):
        pairs = (sorted((numbers[number], numbers[other])) for other in others if other != number)
        found.update((left, right) for left, right in pairs)
    return found


class _HashedPieces:
    def encode(self, texts: Sequence[str], **_: Any) -> Any:
        import zlib

        import numpy

        vectors = numpy.zeros((len(texts), 256), dtype=numpy.float32)
        for number, text in enumerate(texts):
            for piece in pieces(text):
                code = zlib.crc32(piece.encode())
                vectors[number, code % 256] += 1 if code & 256 else -1
        return vectors


def kit_pairs(texts: Sequence[str]) -> Pairs:
    """The kit's own meeting of rensa's hashes, which bounds how many a text in a crowd meets."""
    import numpy

    from kit.data.neighbours import Marks, find_neighbours, marks_of

    marks = Marks()
    for text in texts:
        marks.extend([(0, marks_of([text])[0][1])])  # numbers and negations aside, as the others have it
    neighbours = find_neighbours(marks, numpy.arange(len(texts)), NEAR)
    return {(earlier, later) for later in range(len(texts)) for earlier in neighbours.of(later)}


LIBRARIES: dict[str, Callable[[Sequence[str]], Pairs]] = {
    "datasketch": datasketch_pairs,
    "rensa": rensa_pairs,
    "semhash": semhash_pairs,
    "kit": kit_pairs,
}


def exact_pairs(texts: Sequence[str]) -> Pairs:
    """Every pair of Jaccard index NEAR or more."""
    sets = sorted(
        ((pieces(text), number) for number, text in enumerate(texts)), key=lambda item: len(item[0])
    )
    found = set()
    for index, (large, number) in enumerate(sets):
        for small, other in reversed(sets[:index]):
            if len(small) < NEAR * len(large):
                break
            shared = len(small & large)
            if shared >= NEAR * (len(small) + len(large) - shared):
                found.add((min(number, other), max(number, other)))
    return found


def real_texts(folder: Path) -> list[str]:
    """The distinct questions of the three files (of a chat, what the customer said first)."""
    texts: dict[str, None] = {}
    for name in FILES:
        for line in (folder / f"{name}.jsonl").read_text().splitlines():
            row = json.loads(line)
            said = row.get("question") or " ".join(str(turn["utterance"]) for turn in row["turns"][:4])
            texts[said] = None
    return list(texts)


def many_texts(folder: Path, rows: int) -> list[str]:
    """Real questions with words of others put in; a tenth are near copies of another."""
    draw = random.Random(7)
    real = [text.split() for text in real_texts(folder) if 4 <= len(text.split()) <= 30]
    texts: list[str] = []
    while len(texts) < rows:
        if texts and draw.random() < 0.1:
            texts.append("please, " + draw.choice(texts))
            continue
        words, others = list(draw.choice(real)), draw.choice(real)
        for _ in range(3):
            words.insert(draw.randrange(len(words) + 1), draw.choice(others))
        texts.append(" ".join(words))
    return texts


def measure(what: str, folder: Path, rows: int) -> dict[str, Any]:
    """One measurement in this process: seconds, peak memory over that of the texts, and what was found."""
    texts = many_texts(folder, rows) if rows else real_texts(folder)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    result = {"pairs": sorted({"exact": exact_pairs, **LIBRARIES}[what](texts))}
    seconds = time.process_time() - start
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"seconds": seconds, "megabytes": megabytes, "texts": len(texts), **result}


def in_own_process(what: str, folder: Path, rows: int = 0) -> dict[str, Any]:
    """The same, elsewhere, so that no measurement inherits another's memory or caches."""
    command = [sys.executable, __file__, "--measure", what, "--data", str(folder), "--rows", str(rows)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def report(folder: Path, rows: int) -> None:
    """Both parts, as tables."""
    exact = in_own_process("exact", folder)
    truth = set(map(tuple, exact["pairs"]))
    print(f"{exact['texts']} real questions, {len(truth)} pairs of {NEAR} or more, {exact['seconds']:.1f} s")
    there = [name for name in LIBRARIES if name == "kit" or importlib.util.find_spec(name)]
    _compare({name: in_own_process(name, folder) for name in there}, truth)
    print(f"\n{rows} made-up questions")
    _compare({name: in_own_process(name, folder, rows) for name in there})


def _compare(results: dict[str, dict[str, Any]], truth: Pairs | None = None) -> None:
    for name, result in results.items():
        found = set(map(tuple, result["pairs"]))
        recall = f"recall {len(truth & found) / len(truth):.3f}" if truth else ""
        ratio = result["seconds"] / results["rensa"]["seconds"]
        print(
            f"{name:12} {result['seconds']:7.2f} s {ratio:6.1f} x rensa {result['megabytes']:6.0f} MB "
            f"{len(found):8} candidates {recall}"
        )


def main() -> None:
    """Measure everything, or (for the process of one measurement) one thing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure, given.data, given.rows)))
    else:
        report(given.data, given.rows)


if __name__ == "__main__":
    main()
