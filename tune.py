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

import sys

from conf.sentences import Wrong, refuse


def main() -> None:
    """The console command. Leaves with 2 and one sentence if what was typed cannot be done."""
    arguments = sys.argv[1:]
    if not arguments or {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return
    try:
        from benchmarks import tuning

        sys.exit(tuning.main(arguments))
    except Wrong as error:
        refuse(error)


if __name__ == "__main__":
    main()
