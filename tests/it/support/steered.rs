//! Tasks with the component `steered`, which answers every hook: what it was asked, in order, and what it was to do.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::components::component;
use super::{Outcome, World};

/// A world in which `steered` is attached to every task.
pub fn world() -> World {
    let world = World::new();
    attach(&world);
    world
}

/// From now on, `steered` is attached to every task.
pub fn attach(world: &World) {
    world.config(&format!("[[callbacks]]\nname = \"steered\"\npath = {:?}\n", component("steered")));
}

/// Adds a task, what its hooks are to do in `words`, and works it to its end: with id `t`, and retries.
#[track_caller]
pub fn work(world: &World, task: Value, words: &[&str]) -> Outcome {
    add(world, task, words);
    world.run()
}

/// Adds it only.
#[track_caller]
pub fn add(world: &World, mut task: Value, words: &[&str]) {
    let defaults = json!({"taskId": "t", "retries": 3, "metaData": words.join("\n")});
    for (name, value) in defaults.as_object().unwrap() {
        task.as_object_mut().unwrap().entry(name).or_insert(value.clone());
    }
    world.add(&[task]);
}

/// What the component was asked, in order: `on-request GET http://...`.
pub fn asked(outcome: &Outcome) -> Vec<String> {
    let lines = outcome.stderr.lines().filter_map(|line| line.strip_prefix("steered: asked "));
    lines.map(|line| line.trim().to_owned()).collect()
}

/// What it was asked of one hook.
pub fn asked_of(outcome: &Outcome, hook: &str) -> Vec<String> {
    let lines = asked(outcome);
    let of = lines.iter().filter_map(|line| match line.split_once(' ') {
        Some((known, about)) if known == hook => Some(about.to_owned()),
        None if line == hook => Some(String::new()),
        _ => None,
    });
    of.collect()
}

/// How often it was asked each hook.
pub fn counts(outcome: &Outcome) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for line in asked(outcome) {
        *counts.entry(line.split(' ').next().unwrap_or_default().to_owned()).or_insert(0) += 1;
    }
    counts
}
