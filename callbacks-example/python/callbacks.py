"""A component that steers haul's transfers, one hook of each kind. Take what you need and delete the rest, here and in
world.wit. What the hooks are asked and may answer is documented in the contract, wit/.

In Python: kebab-case becomes snake_case, `option` is a value or None, each case of a variant is a class
(`Status_Complete`), and a `result` is returned or raised as `Err`. An exception that is not caught counts as a failure
of the component.
"""

import json
import time

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import on_auth, on_task_start
from wit_world.imports import fetch, filename, retry
from wit_world.imports.types import Auth, Request, Status_Canceled, Update


class BeforeTaskStart(exports.BeforeTaskStart):
    """Ends tasks whose metadata is `veto` before anything is sent."""

    def handle(self, task):
        if task.meta_data != "veto":
            return None
        return Update(
            seq=0, task_id=task.id, status=Status_Canceled(), at_ms=0, file_path=None, response_status=None,
            response_headers=[], response_body="vetoed by the example", failure=None, resumed_from_bytes=0, notes=[],
            extra=[])


class OnAuth(exports.OnAuth):
    """Renews the access token at the task's `refreshUrl`. Needs `--allow-host` for that URL's host."""

    def handle(self, task, auth, reason):
        try:
            return on_auth.Verdict_Refreshed(renew(auth))
        except CannotRenew as error:
            return on_auth.Verdict_Failed(str(error))


class OnTaskStart(exports.OnTaskStart):
    """Stamps each request with the task's id."""

    def handle(self, task):
        return on_task_start.Changes(url=None, headers=[("x-haul-example", task.id)], remove_headers=[])


class OnTaskFinished(exports.OnTaskFinished):
    """Whatever a component prints becomes lines of haul's log."""

    def handle(self, task, update):
        status = type(update.status).__name__.removeprefix("Status_")
        print(f"task {task.id} of group {task.group} ended: {status.lower()}")


class Filename(exports.Filename):
    """Puts the group before the name of tasks whose metadata is `rename`; the name is the next one's business."""

    def decide(self, task, response, taken):
        if task.meta_data != "rename":
            return filename.decide(task, response, taken)
        prefix = task.group.replace("/", "_") + "-"
        # The next one must not answer a name that is taken once the prefix is before it.
        rest = [name.removeprefix(prefix) for name in taken if name.startswith(prefix)]
        return prefix + filename.decide(task, response, rest)


class Retry(exports.Retry):
    """Waits twice as long as the next one would when the server says that it is overloaded."""

    def decide(self, task, attempt, failure):
        verdict = retry.decide(task, attempt, failure)
        if isinstance(verdict, retry.Verdict_AfterMs) and failure.http_status == 503:
            return retry.Verdict_AfterMs(verdict.value * 2)
        return verdict


class CannotRenew(Exception):
    """Told without the URL, which may hold secrets."""


def renew(auth: Auth) -> Auth:
    """POSTs the refresh token and reads the new access token from the answer."""
    if not auth.refresh_url:
        raise CannotRenew("the task has no refresh URL")
    if not auth.refresh_token:
        raise CannotRenew("the task has no refresh token")
    headers = [(name, text.replace("{refreshToken}", auth.refresh_token)) for name, text in auth.refresh_headers]
    headers.append(("content-type", "application/json"))
    asked = json.dumps({"grant_type": "refresh_token", "refresh_token": auth.refresh_token})
    try:
        response = fetch.fetch(Request("POST", auth.refresh_url, headers, asked.encode(), []))
    except Err as error:
        raise CannotRenew(error.value.description) from None
    if response.status != 200:
        raise CannotRenew(f"the token server answered {response.status}")
    try:
        answer = json.loads(response.body)
        token = answer["access_token"]
    except (ValueError, KeyError, TypeError):
        raise CannotRenew("the token server gave no token") from None
    seconds = answer.get("expires_in")
    auth.access_token = token
    auth.access_token_expires_at_ms = None if seconds is None else int((time.time() + seconds) * 1000)
    return auth
