"""Which way of spreading the work is best here? Trains with each, and answers with one page.

    python compare.py paradigm=sequential,dcollect,dupdate,hogwild env=lander seeds=100-104
    python compare.py paradigm=sequential,hogwild env=pendulum budget.seconds=60 workers=2
    python compare.py runs=FOLDER by=paradigm                    runs that are there already

A key with several values makes the rows, every other one holds for all. Runs take turns, one at a
time, seed by seed; Ctrl-C stops, the same command goes on with what is missing. Its own keys:

    seeds=100-104        or 100,102
    out=FOLDER           of the page; outputs/compare/NAME otherwise
    runs=FOLDER          trains nothing and reads the run folders below this one,
    by=KEY               whose rows are the values of this key of their configuration

budget.seconds=300 holds where you give none: an unsolved run counts with its whole budget.
"""

from __future__ import annotations

import sys

from conf.sentences import Wrong, refuse


def main() -> None:
    """The console command. Leaves with 2 and one sentence if what was typed cannot be done."""
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return
    try:
        from benchmarks import comparison

        sys.exit(comparison.main(arguments))
    except Wrong as error:
        refuse(error)


if __name__ == "__main__":
    main()
