"""The Celery application of test_amqp_celery; its broker and queue come from the environment."""

import os
import pathlib
import time

from celery import Celery
from celery.exceptions import Reject

app = Celery("tests", broker=os.environ.get("TESTS_BROKER"), backend="rpc://")
app.conf.update(
    task_default_queue=os.environ.get("TESTS_QUEUE", "celery"), worker_prefetch_multiplier=1, worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True, result_expires=60, broker_transport_options={"confirm_publish": True},
    task_publish_retry=False, worker_enable_remote_control=True, worker_cancel_long_running_tasks_on_connection_loss=False,
)


@app.task
def add(x, y):
    return x + y


@app.task(bind=True, max_retries=5)
def flaky(self, failures):
    """Fails so many times, then says how often it was tried."""
    if self.request.retries < failures:
        raise self.retry(countdown=0.05, exc=ValueError("not yet"))
    return self.request.retries


@app.task
def failing():
    raise ValueError("never")


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def late(self, directory):
    """The first time it hangs, for its worker to be killed; the second time it says that it was delivered again."""
    marker = pathlib.Path(directory) / "started"
    if marker.exists():
        return self.request.delivery_info["redelivered"]
    marker.touch()
    time.sleep(3600)


@app.task(bind=True, acks_late=True)
def refused(self, directory):
    """Rejected once, for good the second time."""
    marker = pathlib.Path(directory) / "refused"
    if not marker.exists():
        marker.touch()
        raise Reject("again", requeue=True)
    return "taken"
