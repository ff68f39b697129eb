//! Decorates `filename`: asks the next one and appends a letter.

const LETTER: &str = "a";

include!("../src/appends.in");
