//! Decorates `filename`: asks the next one and appends a letter. Hands `classify` on.

const LETTER: &str = "c";

include!("../src/decorates.in");
