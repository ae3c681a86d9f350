"""A chain of Luigi tasks that do nothing but leave their target, which is how Luigi knows that they are done.

Arguments: how many, a folder. The scheduler is Luigi's own in this process, the worker one."""

import pathlib
import sys

import luigi

count, folder = int(sys.argv[1]), pathlib.Path(sys.argv[2])


class Step(luigi.Task):
    number = luigi.IntParameter()

    def requires(self):
        return Step(number=self.number - 1) if self.number else []

    def output(self):
        return luigi.LocalTarget(str(folder / f"{self.number}"))

    def run(self):
        with self.output().open("w"):
            pass


if not luigi.build([Step(number=count - 1)], local_scheduler=True, workers=1, log_level="ERROR"):
    sys.exit(1)
if len(list(folder.iterdir())) != count:
    sys.exit("not every target is there")
