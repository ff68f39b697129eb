
// What the example leaves out: every other hook, settings and state.

import { decide as nextAdmit } from "haul:transfer/admit@0.1.0";
import { decide as nextClassify } from "haul:transfer/classify@0.1.0";
import { decide as nextResume } from "haul:transfer/resume@0.1.0";
import { decide as nextAuthorize } from "haul:transfer/authorize@0.1.0";
import { decide as nextParts } from "haul:transfer/parts@0.1.0";
import { get as setting } from "wasi:config/store@0.2.0-draft";
import { open } from "wasi:keyvalue/store@0.2.0-draft2";
import type * as Admit from "haul:transfer/admit@0.1.0";
import type * as Classify from "haul:transfer/classify@0.1.0";
import type * as Resume from "haul:transfer/resume@0.1.0";
import type * as Authorize from "haul:transfer/authorize@0.1.0";
import type * as Parts from "haul:transfer/parts@0.1.0";
import type * as OnRequest from "haul:transfer/on-request@0.1.0";
import type * as OnRedirect from "haul:transfer/on-redirect@0.1.0";
import type * as OnResponse from "haul:transfer/on-response@0.1.0";
import type * as OnError from "haul:transfer/on-error@0.1.0";
import type * as OnProgress from "haul:transfer/on-progress@0.1.0";
import type * as Verify from "haul:transfer/verify@0.1.0";

export const admit: typeof Admit = {
  decide: nextAdmit,
};

export const classify: typeof Classify = {
  decide: nextClassify,
};

export const resume: typeof Resume = {
  decide: nextResume,
};

export const authorize: typeof Authorize = {
  decide: nextAuthorize,
};

export const parts: typeof Parts = {
  decide: nextParts,
};

export const onRequest: typeof OnRequest = {
  handle(_task, request) {
    return { tag: "next", val: request };
  },
};

export const onRedirect: typeof OnRedirect = {
  handle(_task, _hop) {
    return { tag: "follow" };
  },
};

export const onResponse: typeof OnResponse = {
  handle(_task, response) {
    return { tag: "next", val: response };
  },
};

export const onError: typeof OnError = {
  handle(_task, _failure, _attempt) {
    return { tag: "next" };
  },
};

export const onProgress: typeof OnProgress = {
  handle(_task, _progress) {
    return { tag: "go-on" };
  },
};

/** Counts files in its state, and says which one it refuses: the settings tell how many it takes. */
export const verify: typeof Verify = {
  handle(_task, _file) {
    const bucket = open("files");
    const before = bucket.get("count") ?? new Uint8Array();
    const count = before.length + 1;
    bucket.set("count", new Uint8Array(count));
    const most = setting("most");
    if (most && count > Number(most)) throw `this is file ${count}`;
  },
};
