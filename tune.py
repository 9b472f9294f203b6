"""Looks for good settings with Optuna: python tune.py space=sac env=pendulum trials=12 seeds=0-1

Every trial trains all seeds, so that no setting wins by one lucky seed; one that lies below the
median of earlier trials is stopped. Ctrl-C stops, the same command goes on. The other words are
those of train.py and hold for every trial. Its own keys:

    space=NAME        or a YAML file as in benchmarks/spaces: what may change, between which bounds
    trials=20         how many, stopped ones among them
    seeds=0-1         or 0,3: of every trial; figures that you publish should come from others
    score=return      or seconds: to the threshold, an unsolved run counting as budget.seconds
    out=FOLDER        outputs/tune/NAME otherwise: study.log, and a folder a run
"""

from __future__ import annotations

from conf.sentences import command


def main() -> None:
    """The console command."""

    def work(arguments: list[str]) -> int:
        from benchmarks import tuning  # not before a sentence of help has been printed

        return tuning.main(arguments)

    command(__doc__, work)


if __name__ == "__main__":
    main()
