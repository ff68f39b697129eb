//! Decorates `filename`: asks the next one and appends a letter.

const LETTER: &str = "b";

include!("../src/appends.in");
