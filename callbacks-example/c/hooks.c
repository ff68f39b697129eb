// A component that steers haul's transfers, one hook of each kind. Take what you need and delete the rest, here and
// in world.wit. What the hooks are asked and may answer is documented in the contract, wit/.
//
// In C: what a hook is given is its own to free, what it answers is freed by the bindings, and what it gives to a
// function that it calls stays its own. `option` is { is_some, val }, a variant { tag, val }. abort() counts as a
// failure of the component.

#include "callbacks.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef callbacks_string_t string;

// A new string, as by printf.
static string format(const char *form, ...) {
  va_list values, again;
  va_start(values, form);
  va_copy(again, values);
  int length = vsnprintf(NULL, 0, form, again);
  char *text = malloc((size_t)length + 1);
  if (length < 0 || text == NULL) abort();
  vsnprintf(text, (size_t)length + 1, form, values);
  va_end(again);
  va_end(values);
  return (string){(uint8_t *)text, (size_t)length};
}

// For printf's "%.*s".
#define TEXT(string) (int)(string).len, (const char *)(string).ptr

static bool is(string text, const char *word) {
  return text.len == strlen(word) && memcmp(text.ptr, word, text.len) == 0;
}

static bool begins(string text, string with) {
  return text.len >= with.len && memcmp(text.ptr, with.ptr, with.len) == 0;
}

// Ends tasks whose metadata is `veto` before anything is sent.
bool exports_haul_transfer_before_task_start_handle(haul_transfer_types_task_t *task,
                                                    haul_transfer_types_update_t *update) {
  bool vetoed = is(task->meta_data, "veto");
  if (vetoed) {
    memset(update, 0, sizeof *update);
    update->task_id = format("%.*s", TEXT(task->id));
    update->status.tag = HAUL_TRANSFER_TYPES_STATUS_CANCELED;
    update->response_body.is_some = true;
    update->response_body.val = format("vetoed by the example");
  }
  haul_transfer_types_task_free(task);
  return vetoed;
}

static bool renew(haul_transfer_types_auth_t *auth, string *why);

// Renews the access token at the task's `refreshUrl`. Needs `--allow-host` for that URL's host.
void exports_haul_transfer_on_auth_handle(haul_transfer_types_task_t *task, haul_transfer_types_auth_t *auth,
                                          haul_transfer_authorize_reason_t *reason,
                                          exports_haul_transfer_on_auth_verdict_t *verdict) {
  string why;
  if (renew(auth, &why)) {
    verdict->tag = EXPORTS_HAUL_TRANSFER_ON_AUTH_VERDICT_REFRESHED;
    verdict->val.refreshed = *auth; // it is the verdict's from here on
  } else {
    verdict->tag = EXPORTS_HAUL_TRANSFER_ON_AUTH_VERDICT_FAILED;
    verdict->val.failed = why;
    haul_transfer_types_auth_free(auth);
  }
  haul_transfer_authorize_reason_free(reason);
  haul_transfer_types_task_free(task);
}

// Stamps each request with the task's id.
bool exports_haul_transfer_on_task_start_handle(haul_transfer_types_task_t *task,
                                                exports_haul_transfer_on_task_start_changes_t *changes) {
  memset(changes, 0, sizeof *changes);
  changes->headers.ptr = malloc(sizeof *changes->headers.ptr);
  if (changes->headers.ptr == NULL) abort();
  changes->headers.ptr[0].f0 = format("x-haul-example");
  changes->headers.ptr[0].f1 = format("%.*s", TEXT(task->id));
  changes->headers.len = 1;
  haul_transfer_types_task_free(task);
  return true;
}

// Whatever a component prints becomes lines of haul's log.
void exports_haul_transfer_on_task_finished_handle(haul_transfer_types_task_t *task,
                                                   haul_transfer_types_update_t *update) {
  static const char *const words[] = {"enqueued", "running",          "complete", "not-found", "failed",
                                      "canceled", "waiting-to-retry", "paused",   "other"};
  printf("task %.*s of group %.*s ended: %s\n", TEXT(task->id), TEXT(task->group), words[update->status.tag]);
  fflush(stdout);
  haul_transfer_types_update_free(update);
  haul_transfer_types_task_free(task);
}

// Puts the group before the name of tasks whose metadata is `rename`; the name itself is the next one's business.
void exports_haul_transfer_filename_decide(haul_transfer_types_task_t *task, haul_transfer_types_response_t *response,
                                           callbacks_list_string_t *taken, string *name) {
  if (is(task->meta_data, "rename")) {
    string prefix = format("%.*s-", TEXT(task->group)), rest;
    for (size_t i = 0; i < prefix.len; i++) {
      if (prefix.ptr[i] == '/') prefix.ptr[i] = '_';
    }
    // The next one must not answer a name that is taken once the prefix is before it.
    callbacks_list_string_t relevant = {calloc(taken->len + 1, sizeof(string)), 0};
    if (relevant.ptr == NULL) abort();
    for (size_t i = 0; i < taken->len; i++) {
      string known = taken->ptr[i];
      if (!begins(known, prefix)) continue;
      relevant.ptr[relevant.len++] = (string){known.ptr + prefix.len, known.len - prefix.len};
    }
    haul_transfer_filename_decide(task, response, &relevant, &rest);
    *name = format("%.*s%.*s", TEXT(prefix), TEXT(rest));
    free(relevant.ptr);
    callbacks_string_free(&rest);
    callbacks_string_free(&prefix);
  } else {
    haul_transfer_filename_decide(task, response, taken, name);
  }
  callbacks_list_string_free(taken);
  haul_transfer_types_response_free(response);
  haul_transfer_types_task_free(task);
}

// Waits twice as long as the next one would when the server says that it is overloaded.
void exports_haul_transfer_retry_decide(haul_transfer_types_task_t *task,
                                        exports_haul_transfer_retry_attempt_t *attempt,
                                        haul_transfer_types_failure_t *failure,
                                        exports_haul_transfer_retry_verdict_t *verdict) {
  // The bindings make two equal types of an interface that is both imported and exported.
  _Static_assert(sizeof(haul_transfer_retry_attempt_t) == sizeof *attempt, "one record");
  _Static_assert(sizeof(haul_transfer_retry_verdict_t) == sizeof *verdict, "one variant");
  haul_transfer_retry_decide(task, (haul_transfer_retry_attempt_t *)attempt, failure,
                             (haul_transfer_retry_verdict_t *)verdict);
  bool busy = failure->http_status.is_some && failure->http_status.val == 503;
  if (busy && verdict->tag == EXPORTS_HAUL_TRANSFER_RETRY_VERDICT_AFTER_MS) verdict->val.after_ms *= 2;
  haul_transfer_types_failure_free(failure);
  exports_haul_transfer_retry_attempt_free(attempt);
  haul_transfer_types_task_free(task);
}

// Text with another put for each `{refreshToken}`.
static string expand(string form, string token) {
  static const char mark[] = "{refreshToken}";
  string made = format("");
  for (size_t i = 0; i < form.len;) {
    bool here = form.len - i >= sizeof mark - 1 && memcmp(form.ptr + i, mark, sizeof mark - 1) == 0;
    string more = here ? token : (string){form.ptr + i, 1};
    string longer = format("%.*s%.*s", TEXT(made), TEXT(more));
    callbacks_string_free(&made);
    made = longer;
    i += here ? sizeof mark - 1 : 1;
  }
  return made;
}

// What follows `"key":` in a flat JSON object; NULL where there is none. Enough for the answers of token servers;
// take a JSON library for more.
static const char *member(const char *json, const char *key) {
  string quoted = format("\"%s\"", key);
  const char *found = strstr(json, (const char *)quoted.ptr);
  if (found != NULL) {
    found += quoted.len;
    found += strspn(found, " \t\r\n");
    found = *found == ':' ? found + 1 + strspn(found + 1, " \t\r\n") : NULL;
  }
  callbacks_string_free(&quoted);
  return found;
}

static void take_headers(const haul_transfer_types_auth_t *auth, haul_transfer_types_list_pair_t *headers) {
  size_t count = auth->refresh_headers.len;
  headers->ptr = calloc(count + 1, sizeof *headers->ptr);
  if (headers->ptr == NULL) abort();
  for (size_t i = 0; i < count; i++) {
    headers->ptr[i].f0 = format("%.*s", TEXT(auth->refresh_headers.ptr[i].f0));
    headers->ptr[i].f1 = expand(auth->refresh_headers.ptr[i].f1, auth->refresh_token.val);
  }
  headers->ptr[count].f0 = format("content-type");
  headers->ptr[count].f1 = format("application/json");
  headers->len = count + 1;
}

// Puts the token of an answer into the credentials.
static bool take_token(haul_transfer_types_auth_t *auth, const haul_transfer_types_response_t *response, string *why) {
  if (response->status != 200) {
    *why = format("the token server answered %d", response->status);
    return false;
  }
  string body = format("%.*s", TEXT(response->body));
  const char *token = member((const char *)body.ptr, "access_token");
  size_t length = token != NULL && *token == '"' ? strcspn(++token, "\"\\") : 0;
  bool given = length > 0 && token[length] == '"';
  if (given) {
    callbacks_option_string_free(&auth->access_token);
    auth->access_token.is_some = true;
    auth->access_token.val = format("%.*s", (int)length, token);
    const char *seconds = member((const char *)body.ptr, "expires_in");
    auth->access_token_expires_at_ms.is_some = seconds != NULL;
    if (seconds != NULL) {
      auth->access_token_expires_at_ms.val = ((uint64_t)time(NULL) + strtoull(seconds, NULL, 10)) * 1000;
    }
  } else {
    *why = format("the token server gave no token");
  }
  callbacks_string_free(&body);
  return given;
}

// POSTs the refresh token and reads the new access token from the answer. Errors are told without the URL, which may
// hold secrets.
static bool renew(haul_transfer_types_auth_t *auth, string *why) {
  if (!auth->refresh_url.is_some || !auth->refresh_token.is_some) {
    *why = format("the task has no refresh URL or no refresh token");
    return false;
  }
  haul_transfer_types_request_t request = {0};
  request.method = format("POST");
  request.url = format("%.*s", TEXT(auth->refresh_url.val));
  take_headers(auth, &request.headers);
  string asked =
      format("{\"grant_type\":\"refresh_token\",\"refresh_token\":\"%.*s\"}", TEXT(auth->refresh_token.val));
  request.body.ptr = asked.ptr;
  request.body.len = asked.len;

  haul_transfer_types_response_t response;
  haul_transfer_types_failure_t failure;
  bool renewed = false;
  if (haul_transfer_fetch_fetch(&request, &response, &failure)) {
    renewed = take_token(auth, &response, why);
    haul_transfer_types_response_free(&response);
  } else {
    *why = format("%.*s", TEXT(failure.description));
    haul_transfer_types_failure_free(&failure);
  }
  haul_transfer_types_request_free(&request);
  return renewed;
}
