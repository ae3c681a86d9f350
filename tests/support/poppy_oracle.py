"""Runs topologies with POPPy's own planner, tasks, loops and tables; one JSON document a line in, one out.

Argument: the address of a PostgreSQL database. In: {"names": [...], "links": [[p, c], ...], "start": N, "loops": [[s, e, count], ...],
"fails": [[name, turn], ...]}, where a turn counts the calls of a task from zero. Out: the rows of the table job_log as
[task, state, status].
"""

import json
import logging
import sys

import sqlalchemy
from sqlalchemy.orm import sessionmaker

from poppy.core.generic.graph import Graph
from poppy.core.generic.signals import Signal  # noqa: F401  (loads what tasks need)
from poppy.core.loop import Loop
from poppy.core.pipeline import Pipeline
from poppy.core.task.base_task import BaseTask
from poppy.pop.models.job import Base, JobException, JobLog

logging.disable(logging.CRITICAL)


class Lock:
    def start(self):
        pass

    stop = start


class Database:
    """The few calls that the pipeline makes on its connector."""

    def __init__(self, engine):
        self.session = sessionmaker(bind=engine)()

    def bind(self):
        pass

    def update_database(self):
        self.session.commit()

    def add(self, row):
        self.session.add(row)
        self.session.commit()


class Plugin:
    name = "ORACLE"


class Work(BaseTask):
    inputs = {}
    outputs = {}

    def __init__(self, name, fails):
        self.name = name
        self.fails = fails
        self.turn = -1
        super().__init__(plugin=Plugin, descriptor={"category": "test", "description": ""}, instance_name=name)

    def instantiate_targets(self):
        pass

    def __repr__(self):
        return self.name

    def ancestors(self):
        return list(self.parents)

    def descendants(self):
        return list(self.children)

    def run(self):
        self.turn += 1
        if self.turn in self.fails:
            raise ValueError("told to")


def pipeline_of(wish, database):
    pipeline = object.__new__(Pipeline)
    pipeline.db = database
    pipeline.graph, pipeline.tasks, pipeline._loops = Graph(), {}, []
    pipeline._entry_point = pipeline._start = pipeline._end = None
    pipeline._is_new_topology, pipeline._exit, pipeline.no_entry_point = False, False, False
    pipeline.lock = pipeline.__dict__["lock"] = Lock()
    tasks = [Work(name, {turn for who, turn in wish["fails"] if who == name}) for name in wish["names"]]
    for parent, child in wish["links"]:
        tasks[parent] | tasks[child]
    pipeline | tasks[wish["start"]]
    pipeline.start = tasks[wish["start"]]
    for start, end, count in wish["loops"]:

        def items(loop, count=count):
            yield from range(count)

        pipeline.loop(tasks[start], tasks[end], items)
    return pipeline


def main():
    engine = sqlalchemy.create_engine(sys.argv[1])
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE SCHEMA IF NOT EXISTS poppy"))
    tables = [JobLog.__table__, JobException.__table__]
    Base.metadata.create_all(engine, tables=tables)
    for line in sys.stdin:
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("TRUNCATE poppy.job_log, poppy.job_exception"))
        database = Database(engine)
        Loop.instances = []
        pipeline_of(json.loads(line), database).run()
        database.session.close()
        with engine.begin() as connection:
            rows = connection.execute(sqlalchemy.text("SELECT job_task, job_state::text, job_status::text FROM poppy.job_log"))
            print(json.dumps([list(row) for row in rows]), flush=True)


main()
