//! The contract (`wit/`) as Rust types, generated. One set of types serves the default policy, users' components and what
//! those import: the functions themselves are found by [`super::functions`]. No code of ours.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::all)]

wasmtime::component::bindgen!({
    inline: "
        package haul:host;
        world host {
            import haul:transfer/admit@0.1.0;
            import haul:transfer/classify@0.1.0;
            import haul:transfer/filename@0.1.0;
            import haul:transfer/resume@0.1.0;
            import haul:transfer/authorize@0.1.0;
            import haul:transfer/retry@0.1.0;
            import haul:transfer/parts@0.1.0;
            import haul:transfer/before-task-start@0.1.0;
            import haul:transfer/on-auth@0.1.0;
            import haul:transfer/on-task-start@0.1.0;
            import haul:transfer/on-request@0.1.0;
            import haul:transfer/on-redirect@0.1.0;
            import haul:transfer/on-response@0.1.0;
            import haul:transfer/on-error@0.1.0;
            import haul:transfer/on-progress@0.1.0;
            import haul:transfer/verify@0.1.0;
            import haul:transfer/on-task-finished@0.1.0;
            import haul:transfer/fetch@0.1.0;
        }
    ",
    path: "../wit",
    // For what is handed on, and for `words`.
    additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
});
