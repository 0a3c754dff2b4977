"""What an engine of distributed work gave this process."""

from __future__ import annotations

import os
import sys


def threads_given() -> int | None:
    """The compute threads that this process may use: as many as Ray or Spark gave it CPUs, else
    $OMP_NUM_THREADS, which other engines set. `None` if nothing says.

    A part of a CPU is one thread.
    """
    cpus = _of_ray()
    if cpus is None:
        cpus = _of_spark()
    if cpus is None:
        text = os.environ.get("OMP_NUM_THREADS", "")
        cpus = int(text) if text.isdecimal() and int(text) > 0 else None
    return None if cpus is None else max(1, min(int(cpus), 256))


def _of_ray() -> float | None:
    # A worker of Ray's has it loaded.
    ray = sys.modules.get("ray")
    if ray is None or not getattr(ray, "is_initialized", lambda: False)():
        return None
    context = ray.get_runtime_context()
    if context.worker.mode != ray.WORKER_MODE:
        return None  # the driver
    # An actor that was given none, as one with a GPU alone, goes by $OMP_NUM_THREADS.
    return context.get_assigned_resources().get("CPU")


def _of_spark() -> float | None:
    spark = sys.modules.get("pyspark")
    task = spark.TaskContext.get() if hasattr(spark, "TaskContext") else None
    return None if task is None else task.cpus()
