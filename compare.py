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

from conf.sentences import command


def main() -> None:
    """The console command."""

    def work(arguments: list[str]) -> int:
        from benchmarks import comparison  # not before a sentence of help has been printed

        return comparison.main(arguments)

    command(__doc__, work)


if __name__ == "__main__":
    main()
