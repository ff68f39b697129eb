// A component that steers haul's transfers, one hook of each kind. Take what you need and delete the rest, here and
// in world.wit. What the hooks are asked and may answer is documented in the contract, wit/.
//
// In JavaScript: kebab-case becomes camelCase, an `option` that is not there is null (answered, it may be undefined as
// well), a variant is { tag, val }, u64 is a number, and a `result` is returned or thrown. An exception that is not
// caught counts as a failure of the component. QuickJS is the language alone: no `console`, no `TextEncoder`, no
// `fetch`, no timers; haul's own `log` and `fetch` are imported instead.

import { decide as nextFilename } from "haul:transfer/filename@0.1.0";
import { decide as nextRetry } from "haul:transfer/retry@0.1.0";
import { fetch } from "haul:transfer/fetch@0.1.0";
import { write as log } from "haul:transfer/log@0.1.0";

/** Ends tasks whose metadata is `veto` before anything is sent. */
export const beforeTaskStart = {
  handle(task) {
    if (task.metaData !== "veto") return undefined;
    return {
      seq: 0,
      taskId: task.id,
      status: { tag: "canceled" },
      atMs: 0,
      responseHeaders: [],
      responseBody: "vetoed by the example",
      resumedFromBytes: 0,
      notes: [],
      extra: [],
    };
  },
};

/** Renews the access token at the task's `refreshUrl`. Needs `--allow-host` for that URL's host. */
export const onAuth = {
  handle(_task, auth, _reason) {
    try {
      return { tag: "refreshed", val: { ...auth, ...renew(auth) } };
    } catch (error) {
      return { tag: "failed", val: error.message ?? String(error) };
    }
  },
};

/** Stamps each request with the task's id. */
export const onTaskStart = {
  handle(task) {
    return { headers: [["x-haul-example", task.id]], removeHeaders: [] };
  },
};

/** Tells haul's log how a task ended. */
export const onTaskFinished = {
  handle(task, update) {
    log(`task ${task.id} of group ${task.group} ended: ${update.status.tag}`);
  },
};

/** Puts the group before the name of tasks whose metadata is `rename`; the name itself is the next one's business. */
export const filename = {
  decide(task, response, taken) {
    if (task.metaData !== "rename") return nextFilename(task, response, taken);
    const prefix = `${task.group.replaceAll("/", "_")}-`;
    // The next one must not answer a name that is taken once the prefix is before it.
    const rest = taken.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
    return prefix + nextFilename(task, response, rest);
  },
};

/** Waits twice as long as the next one would when the server says that it is overloaded. */
export const retry = {
  decide(task, attempt, failure) {
    const verdict = nextRetry(task, attempt, failure);
    if (verdict.tag === "after-ms" && failure.httpStatus === 503) {
      return { tag: "after-ms", val: verdict.val * 2 };
    }
    return verdict;
  },
};

/** POSTs the refresh token and reads the new one. Errors are told without the URL, which may hold secrets. */
function renew(auth) {
  if (!auth.refreshUrl) throw new Error("the task has no refresh URL");
  if (!auth.refreshToken) throw new Error("the task has no refresh token");
  const expand = (text) => text.replaceAll("{refreshToken}", auth.refreshToken);
  const headers = auth.refreshHeaders.map(([name, text]) => [name, expand(text)]);
  headers.push(["content-type", "application/json"]);
  const asked = JSON.stringify({ grant_type: "refresh_token", refresh_token: auth.refreshToken });
  const response = post(auth.refreshUrl, headers, bytesOf(asked));
  if (response.status !== 200) throw new Error(`the token server answered ${response.status}`);
  const answer = JSON.parse(textOf(response.body));
  if (typeof answer.access_token !== "string") throw new Error("the token server gave no token");
  const seconds = answer.expires_in;
  const expires = seconds === undefined ? undefined : Date.now() + seconds * 1000;
  return { accessToken: answer.access_token, accessTokenExpiresAtMs: expires };
}

function post(url, headers, body) {
  try {
    return fetch({ method: "POST", url, headers, body, extra: [] });
  } catch (error) {
    throw new Error(error.payload?.description ?? "the token server cannot be reached");
  }
}

/** UTF-8 and back, a character for each byte in between. */
function bytesOf(text) {
  const chars = unescape(encodeURIComponent(text));
  const { length } = chars;
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = chars.charCodeAt(at);
  return bytes;
}

function textOf(bytes) {
  let chars = "";
  for (let at = 0; at < bytes.length; at += 4096) chars += String.fromCharCode(...bytes.slice(at, at + 4096));
  return decodeURIComponent(escape(chars));
}
