// A component that steers haul's transfers, one hook of each kind. Take what you need and delete the rest, here and in
// world.wit. What the hooks are asked and may answer is documented in the contract, wit/; the build makes types of it
// and checks this file against them.
//
// In TypeScript: kebab-case becomes camelCase, `option` is a value or undefined, a variant is { tag, val }, u64 is a
// bigint. An exception that is not caught counts as a failure of the component.

import { decide as nextFilename } from "haul:transfer/filename@0.1.0";
import { decide as nextRetry } from "haul:transfer/retry@0.1.0";
import type * as Filename from "haul:transfer/filename@0.1.0";
import type * as Retry from "haul:transfer/retry@0.1.0";
import type * as BeforeTaskStart from "haul:transfer/before-task-start@0.1.0";
import type * as OnAuth from "haul:transfer/on-auth@0.1.0";
import type * as OnTaskStart from "haul:transfer/on-task-start@0.1.0";
import type * as OnTaskFinished from "haul:transfer/on-task-finished@0.1.0";
import type { Auth } from "haul:transfer/types@0.1.0";

/** Ends tasks whose metadata is `veto` before anything is sent. */
export const beforeTaskStart: typeof BeforeTaskStart = {
  handle(task) {
    if (task.metaData !== "veto") return undefined;
    return {
      seq: 0n,
      taskId: task.id,
      status: { tag: "canceled" },
      atMs: 0n,
      responseHeaders: [],
      responseBody: "vetoed by the example",
      resumedFromBytes: 0n,
      notes: [],
      extra: [],
    };
  },
};

/** Renews the access token at the task's `refreshUrl`. Needs `--allow-host` for that URL's host. */
export const onAuth = {
  async handle(_task: OnAuth.Task, auth: Auth, _reason: OnAuth.Reason): Promise<OnAuth.Verdict> {
    try {
      return { tag: "refreshed", val: { ...auth, ...(await renew(auth)) } };
    } catch (error) {
      return { tag: "failed", val: error instanceof Error ? error.message : String(error) };
    }
  },
};

/** Stamps each request with the task's id. */
export const onTaskStart: typeof OnTaskStart = {
  handle(task) {
    return { headers: [["x-haul-example", task.id]], removeHeaders: [] };
  },
};

/** Whatever a component prints becomes lines of haul's log. */
export const onTaskFinished: typeof OnTaskFinished = {
  handle(task, update) {
    console.log(`task ${task.id} of group ${task.group} ended: ${update.status.tag}`);
  },
};

/** Puts the group before the name of tasks whose metadata is `rename`; the name itself is the next one's business. */
export const filename: typeof Filename = {
  decide(task, response, taken) {
    if (task.metaData !== "rename") return nextFilename(task, response, taken);
    const prefix = `${task.group.replaceAll("/", "_")}-`;
    // The next one must not answer a name that is taken once the prefix is before it.
    const rest = taken.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
    return prefix + nextFilename(task, response, rest);
  },
};

/** Waits twice as long as the next one would when the server says that it is overloaded. */
export const retry: typeof Retry = {
  decide(task, attempt, failure) {
    const verdict = nextRetry(task, attempt, failure);
    if (verdict.tag === "after-ms" && failure.httpStatus === 503) {
      return { tag: "after-ms", val: verdict.val * 2n };
    }
    return verdict;
  },
};

/** POSTs the refresh token and reads the new one. Errors are told without the URL, which may hold secrets. */
async function renew(auth: Auth): Promise<Pick<Auth, "accessToken" | "accessTokenExpiresAtMs">> {
  const { refreshUrl, refreshToken } = auth;
  if (!refreshUrl) throw new Error("the task has no refresh URL");
  if (!refreshToken) throw new Error("the task has no refresh token");
  const headers = new Headers({ "content-type": "application/json" });
  for (const [name, text] of auth.refreshHeaders) headers.append(name, text.replaceAll("{refreshToken}", refreshToken));
  const body = JSON.stringify({ grant_type: "refresh_token", refresh_token: refreshToken });
  const response = await fetch(refreshUrl, { method: "POST", headers, body });
  if (response.status !== 200) throw new Error(`the token server answered ${response.status}`);
  const answer = (await response.json()) as { access_token?: unknown; expires_in?: number };
  if (typeof answer.access_token !== "string") throw new Error("the token server gave no token");
  const expires = answer.expires_in === undefined ? undefined : BigInt(Date.now() + answer.expires_in * 1000);
  return { accessToken: answer.access_token, accessTokenExpiresAtMs: expires };
}
