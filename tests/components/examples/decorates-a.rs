//! Decorates `filename`: asks the next one and appends a letter. Hands `classify` on.

const LETTER: &str = "a";

include!("../src/decorates.in");
