"""Packing: which samples share a row, so that rows are few and full. Lengths in, bins of indices out."""

from collections.abc import Sequence


def pack(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Put samples into as few rows as best-fit-decreasing finds: at most 11/9 of the fewest possible, and 1.

    The longest sample goes first, each into the fullest row that still has room (Johnson 1974). The room
    left in the open rows is kept as a set of bits, so that the tightest fit is the lowest bit from a
    sample's length on: a million samples take seconds.

    Args:
        lengths: tokens of each sample, 1 to `capacity`.
        capacity: most tokens of a row.

    Returns:
        For each row the indices of its samples. Rows are in the order they were opened, the longest sample
        first; samples of one length are taken by index. The same lengths give the same rows.

    Raises:
        ValueError: a sample has no token, or more than a row holds.
    """
    rows: list[list[int]] = []
    with_room: list[list[int]] = [[] for _ in range(capacity + 1)]  # the rows that have so much room left
    rooms = 0  # bit n is set where some row has room n
    for index in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        length = lengths[index]
        if not 1 <= length <= capacity:
            raise ValueError(f"sample {index} has {length} tokens; a row holds 1 to {capacity}")
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = with_room[room].pop()
            if not with_room[room]:
                rooms ^= 1 << room
            rows[row].append(index)
        else:
            room, row = capacity, len(rows)
            rows.append([index])
        left = room - length
        with_room[left].append(row)
        rooms |= 1 << left
    return rows
