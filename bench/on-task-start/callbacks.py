"""Stamps each request with the task's id, as the example in Python does; answers no other hook. Built by bench.py."""

from wit_world import exports
from wit_world.exports import on_task_start


class OnTaskStart(exports.OnTaskStart):
    def handle(self, task):
        return on_task_start.Changes(url=None, headers=[("x-haul-example", task.id)], remove_headers=[])
