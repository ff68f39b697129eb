
// What the example leaves out: every other hook, settings and state.

import { decide as nextAdmit } from "haul:transfer/admit@0.1.0";
import { decide as nextClassify } from "haul:transfer/classify@0.1.0";
import { decide as nextResume } from "haul:transfer/resume@0.1.0";
import { decide as nextAuthorize } from "haul:transfer/authorize@0.1.0";
import { decide as nextParts } from "haul:transfer/parts@0.1.0";
import { get as setting } from "wasi:config/store@0.2.0-draft";
import { open } from "wasi:keyvalue/store@0.2.0-draft2";

export const admit = {
  decide: nextAdmit,
};

export const classify = {
  decide: nextClassify,
};

export const resume = {
  decide: nextResume,
};

export const authorize = {
  decide: nextAuthorize,
};

export const parts = {
  decide: nextParts,
};

export const onRequest = {
  handle(_task, request) {
    return { tag: "next", val: request };
  },
};

export const onRedirect = {
  handle(_task, _hop) {
    return { tag: "follow" };
  },
};

export const onResponse = {
  handle(_task, response) {
    return { tag: "next", val: response };
  },
};

export const onError = {
  handle(_task, _failure, _attempt) {
    return { tag: "next" };
  },
};

export const onProgress = {
  handle(_task, _progress) {
    return { tag: "go-on" };
  },
};

/** Counts files in its state, and says which one it refuses: the settings tell how many it takes. */
export const verify = {
  handle(_task, _file) {
    const bucket = open("files");
    const before = bucket.get("count") ?? new Uint8Array();
    const count = before.length + 1;
    bucket.set("count", new Uint8Array(count));
    const most = setting("most");
    if (most && count > Number(most)) throw `this is file ${count}`;
  },
};
