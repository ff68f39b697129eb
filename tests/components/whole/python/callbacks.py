

# What the example leaves out: every other hook, settings and state.

from wit_world.exports import on_error, on_progress, on_redirect, on_request, on_response
from wit_world.imports import admit, authorize, classify, parts, resume
from wit_world.imports import wasi_config_store as settings, wasi_keyvalue_store as state


class Admit(exports.Admit):
    def decide(self, tasks, context):
        return admit.decide(tasks, context)


class Classify(exports.Classify):
    def decide(self, task, asked, response):
        return classify.decide(task, asked, response)


class Resume(exports.Resume):
    def decide(self, task, stored):
        return resume.decide(task, stored)


class Authorize(exports.Authorize):
    def decide(self, task, auth, situation, now_at_ms):
        return authorize.decide(task, auth, situation, now_at_ms)


class Parts(exports.Parts):
    def decide(self, task, what):
        return parts.decide(task, what)


class OnRequest(exports.OnRequest):
    def handle(self, task, request):
        return on_request.Verdict_Next(request)


class OnRedirect(exports.OnRedirect):
    def handle(self, task, hop):
        return on_redirect.Verdict_Follow()


class OnResponse(exports.OnResponse):
    def handle(self, task, response):
        return on_response.Verdict_Next(response)


class OnError(exports.OnError):
    def handle(self, task, failure, attempt):
        return on_error.Verdict_Next()


class OnProgress(exports.OnProgress):
    def handle(self, task, progress):
        return on_progress.Verdict_GoOn()


class Verify(exports.Verify):
    """Counts files in its state, and says which one it refuses: the settings tell how many it takes."""

    def handle(self, task, file):
        bucket = state.open("files")
        count = len(bucket.get("count") or b"") + 1
        bucket.set("count", b"x" * count)
        most = settings.get("most")
        if most and count > int(most):
            raise Err(f"this is file {count}")
