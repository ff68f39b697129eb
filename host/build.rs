//! Compiles the default policy (`../guest`) to a component and embeds it.
fn main() {}
